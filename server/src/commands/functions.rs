//! Libraries of functions. Every shard has all of them; what changes them is a transaction over all shards, and each shard comes to the same
//! end by itself.

use annulus_protocol::Encoder;
use annulus_storage::rdb;

use super::arguments::is;
use super::errors::{Failure, Outcome, fail};
use super::glob::{Case, glob_match};
use super::{Context, answer, unreachable_arity};
use crate::script::{
    FunctionInfo, StoredLibrary, decode_library, encode_library, inspect_library, parse_library_header,
};

/// `FUNCTION LOAD [REPLACE] function-code`
pub(super) fn load(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = load_text(context, args);
    answer(context, outcome);
}

fn load_text(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, _, options @ .., text] = args else { return Err(unreachable_arity("function|load")) };
    if let Some(option) = options.iter().find(|option| !is(option, "REPLACE")) {
        return Err(refuse("ERR Unknown option given: ", option));
    }
    let name = put(context, text, !options.is_empty())?;
    context.out.bulk(name);
    Ok(())
}

fn refuse(text: &str, word: &[u8]) -> Failure {
    [text.as_bytes(), word].concat().into()
}

/// Adds a library, or puts it in the place of the one of its name. Returns the name.
fn put<'t>(context: &mut Context<'_>, text: &'t [u8], replaces: bool) -> Result<&'t [u8], Failure> {
    let name = parse_library_header(text).map_err(Failure::from)?;
    if !replaces && context.store.libraries().body(name).is_some() {
        return Err([b"ERR Library '", name, b"' already exists"].concat().into());
    }
    let functions = inspect_library(name, text).map_err(Failure::from)?.functions;
    check_names(context, name, &functions)?;
    let body = encode_library(text, &functions);
    context.store.set_library(name, &body);
    Ok(name)
}

/// Functions of different libraries have different names, in either case.
fn check_names(context: &Context<'_>, name: &[u8], functions: &[FunctionInfo]) -> Result<(), Failure> {
    let others = context.store.libraries().iter().filter(|(other, _)| *other != name);
    for (_, body) in others {
        let taken = decode_library(body).map(|library| library.functions).unwrap_or_default();
        let clash =
            functions.iter().find(|it| taken.iter().any(|other| other.name.eq_ignore_ascii_case(&it.name)));
        if let Some(function) = clash {
            return Err(refuse_function(&function.name));
        }
    }
    Ok(())
}

/// `FUNCTION DELETE library-name`
pub(super) fn delete(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, _, name] if context.store.delete_library(name) => {
            context.out.ok();
            Ok(())
        }
        [_, _, _] => Err(fail("ERR Library not found")),
        _ => Err(unreachable_arity("function|delete")),
    };
    answer(context, outcome);
}

/// `FUNCTION FLUSH [ASYNC | SYNC]`: both ways are the same here.
pub(super) fn flush(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, _] => Ok(()),
        [_, _, way] if is(way, "ASYNC") || is(way, "SYNC") => Ok(()),
        [_, _, _] => Err(fail("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => Err(wrong_syntax(args)),
    };
    if outcome.is_ok() {
        context.store.flush_libraries();
        context.out.ok();
    }
    answer(context, outcome);
}

fn wrong_syntax(args: &[&[u8]]) -> Failure {
    let name = args.get(1).copied().unwrap_or_default();
    let behind = b"'. Try FUNCTION HELP.";
    [b"ERR unknown subcommand or wrong number of arguments for '", name, behind].concat().into()
}

/// `FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]`
pub(super) fn list(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list_matching(context, args);
    answer(context, outcome);
}

fn list_matching(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let (mut pattern, mut with_text) = (None, false);
    let mut rest = args.get(2..).unwrap_or_default();
    loop {
        rest = match rest {
            [] => break,
            [option, tail @ ..] if !with_text && is(option, "WITHCODE") => {
                with_text = true;
                tail
            }
            [option] if pattern.is_none() && is(option, "LIBRARYNAME") => {
                return Err(fail("ERR library name argument was not given"));
            }
            [option, value, tail @ ..] if pattern.is_none() && is(option, "LIBRARYNAME") => {
                pattern = Some(*value);
                tail
            }
            [option, ..] => return Err(refuse("ERR Unknown argument ", option)),
        }
    }
    let wanted = |name: &[u8]| pattern.is_none_or(|pattern| glob_match(pattern, name, Case::Insensitive));
    let libraries = context.store.libraries().iter().filter(|(name, _)| wanted(name));
    let libraries: Vec<_> =
        libraries.filter_map(|(name, body)| Some((name, decode_library(body)?))).collect();
    context.out.array_header(libraries.len());
    for (name, library) in &libraries {
        write_library(name, library, with_text, &mut context.out);
    }
    Ok(())
}

fn write_library(name: &[u8], library: &StoredLibrary<'_>, with_text: bool, out: &mut Encoder<'_>) {
    out.map_header(3 + usize::from(with_text));
    out.bulk("library_name");
    out.bulk(name);
    out.bulk("engine");
    out.bulk("LUA");
    out.bulk("functions");
    out.array_header(library.functions.len());
    for function in &library.functions {
        out.map_header(3);
        out.bulk("name");
        out.bulk(&function.name);
        out.bulk("description");
        match &function.description {
            Some(description) => out.bulk(description),
            None => out.null(),
        }
        out.bulk("flags");
        out.set_header(function.flags.names().count());
        for flag in function.flags.names() {
            out.simple(flag);
        }
    }
    if with_text {
        out.bulk("library_code");
        out.bulk(library.text);
    }
}

/// `FUNCTION DUMP`
pub(super) fn dump(context: &mut Context<'_>, _args: &[&[u8]]) {
    let texts = context.store.libraries().iter().filter_map(|(_, body)| Some(decode_library(body)?.text));
    let payload = rdb::dump_functions(texts);
    context.out.bulk(payload);
}

/// `FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]`
pub(super) fn restore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = restore_payload(context, args);
    answer(context, outcome);
}

fn restore_payload(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let (payload, policy) = match args {
        [_, _, payload] => (payload, &b"append"[..]),
        [_, _, payload, policy] => (payload, *policy),
        _ => return Err(wrong_syntax(args)),
    };
    let (flushes, replaces) = (is(policy, "FLUSH"), is(policy, "REPLACE"));
    if !flushes && !replaces && !is(policy, "APPEND") {
        return Err(fail("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."));
    }
    let texts = rdb::restore_functions(payload).map_err(|fault| match fault {
        rdb::Fault::Footer => fail("ERR DUMP payload version or checksum are wrong"),
        rdb::Fault::Object => fail("ERR given type is not a function"),
    })?;
    let libraries = check_payload(context, &texts, flushes, replaces)?;
    if flushes {
        context.store.flush_libraries();
    }
    for (name, body) in libraries {
        context.store.set_library(name, &body);
    }
    context.out.ok();
    Ok(())
}

/// Names and bodies of libraries.
type Named<'t> = Vec<(&'t [u8], Vec<u8>)>;

/// Everything in a payload with its name, if all of it can be restored together.
fn check_payload<'t>(
    context: &Context<'_>,
    texts: &'t [Vec<u8>],
    flushes: bool,
    replaces: bool,
) -> Result<Named<'t>, Failure> {
    let exists = |name: &[u8]| Failure::from([b"ERR Library ", name, b" already exists"].concat());
    let mut libraries: Vec<(&[u8], Vec<FunctionInfo>, Vec<u8>)> = Vec::new();
    for text in texts {
        let name = parse_library_header(text).map_err(Failure::from)?;
        if libraries.iter().any(|(other, ..)| *other == name) {
            return Err(exists(name));
        }
        let functions = inspect_library(name, text).map_err(Failure::from)?.functions;
        let body = encode_library(text, &functions);
        libraries.push((name, functions, body));
    }
    let mut taken: Vec<Box<[u8]>> = Vec::new();
    for (name, body) in context.store.libraries().iter().filter(|_| !flushes) {
        if libraries.iter().any(|(other, ..)| *other == name) {
            if !replaces {
                return Err(exists(name));
            }
            continue;
        }
        let functions = decode_library(body).map(|library| library.functions).unwrap_or_default();
        taken.extend(functions.into_iter().map(|function| function.name));
    }
    for (_, functions, _) in &libraries {
        for function in functions {
            if taken.iter().any(|other| other.eq_ignore_ascii_case(&function.name)) {
                return Err(refuse_function(&function.name));
            }
        }
        taken.extend(functions.iter().map(|function| function.name.clone()));
    }
    Ok(libraries.into_iter().map(|(name, _, body)| (name, body)).collect())
}

fn refuse_function(name: &[u8]) -> Failure {
    [b"ERR Function ", name, b" already exists"].concat().into()
}
