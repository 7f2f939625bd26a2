//! The notation in which the table describes a command's arguments.
//!
//! - `name` or `name:type`: a value; the type is `string` unless said, and `key` for a name that is just that;
//! - `WORD`: to be given as it stands; `WORD name`: followed by a value; `WORD (…)`: followed by a group;
//! - `[…]`: may be left out; `(…)`: belongs together; `|` between what excludes each other;
//! - `...` behind any of these: may be repeated.

use std::fmt;

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The word that comes before, or that is all of it.
    pub(super) token: Option<String>,
    pub(super) optional: bool,
    pub(super) multiple: bool,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value of this type.
    Value(&'static str),
    /// Only a word.
    PureToken,
    /// One of several.
    OneOf(Vec<Argument>),
    /// Several together.
    Block(Vec<Argument>),
}

impl Argument {
    fn new(name: String, kind: Kind) -> Self {
        Self { name, kind, token: None, optional: false, multiple: false }
    }

    /// The type's name in `COMMAND DOCS`.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Value(name) => name,
            Kind::PureToken => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    /// The arguments inside a group.
    pub(super) fn inner(&self) -> &[Argument] {
        match &self.kind {
            Kind::OneOf(inner) | Kind::Block(inner) => inner,
            Kind::Value(_) | Kind::PureToken => &[],
        }
    }
}

#[cfg(test)]
impl Argument {
    /// How many words it takes at least.
    pub(super) fn required(&self) -> usize {
        if self.optional {
            return 0;
        }
        let inner = match &self.kind {
            Kind::Value(_) => 1,
            Kind::PureToken => 0,
            Kind::OneOf(choices) => choices.iter().map(Self::required).min().unwrap_or(0),
            Kind::Block(parts) => parts.iter().map(Self::required).sum(),
        };
        inner + usize::from(self.token.is_some())
    }
}

/// What is wrong with a text in this notation. Only tests of the table see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxFault(String);

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the notation.
pub(super) fn parse(text: &str) -> Result<Vec<Argument>, SyntaxFault> {
    let mut parser = Parser { words: words(text), at: 0 };
    let arguments = parser.sequence()?;
    match parser.peek() {
        None => Ok(arguments),
        Some(word) => Err(SyntaxFault(format!("unexpected {word:?}"))),
    }
}

/// Brackets, bars and dots are words of their own.
fn words(text: &str) -> Vec<String> {
    let mut spaced = text.replace("...", " ... ");
    for mark in ["[", "]", "(", ")", "|"] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Parser {
    words: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn take(&mut self, word: &str) -> bool {
        let here = self.peek() == Some(word);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, word: &str) -> Result<(), SyntaxFault> {
        if self.take(word) { Ok(()) } else { Err(SyntaxFault(format!("no {word:?} at word {}", self.at))) }
    }

    fn sequence(&mut self) -> Result<Vec<Argument>, SyntaxFault> {
        let mut arguments = Vec::new();
        while !matches!(self.peek(), None | Some("]" | ")" | "|")) {
            arguments.push(self.element()?);
        }
        Ok(arguments)
    }

    fn element(&mut self) -> Result<Argument, SyntaxFault> {
        let mut argument = if self.take("[") {
            let inner = self.alternatives()?;
            self.expect("]")?;
            Argument { optional: true, ..inner }
        } else if self.take("(") {
            let inner = self.alternatives()?;
            self.expect(")")?;
            inner
        } else {
            self.word()?
        };
        argument.multiple |= self.take("...");
        Ok(argument)
    }

    fn alternatives(&mut self) -> Result<Argument, SyntaxFault> {
        let mut choices = vec![group(self.sequence()?, Kind::Block)?];
        while self.take("|") {
            choices.push(group(self.sequence()?, Kind::Block)?);
        }
        group(choices, Kind::OneOf)
    }

    fn word(&mut self) -> Result<Argument, SyntaxFault> {
        let word = self.peek().unwrap_or_default().to_owned();
        self.at += 1;
        if !word.starts_with(|first: char| first.is_ascii_uppercase()) {
            return value(&word);
        }
        let followed = match self.peek() {
            Some("(") => Some(self.element()?),
            Some(next) if next.starts_with(|first: char| first.is_ascii_lowercase()) => Some(self.word()?),
            _ => None,
        };
        Ok(match followed {
            Some(argument) => Argument { token: Some(word), ..argument },
            None => {
                Argument { token: Some(word.clone()), ..Argument::new(word.to_lowercase(), Kind::PureToken) }
            }
        })
    }
}

/// One argument stands for itself, several for a group that is named after them.
fn group(mut arguments: Vec<Argument>, kind: fn(Vec<Argument>) -> Kind) -> Result<Argument, SyntaxFault> {
    match arguments.len() {
        0 => Err(SyntaxFault("an empty group".to_owned())),
        1 => Ok(arguments.remove(0)),
        _ => {
            let names: Vec<_> = arguments.iter().map(|argument| argument.name.as_str()).collect();
            Ok(Argument::new(names.join("_"), kind(arguments)))
        }
    }
}

fn value(word: &str) -> Result<Argument, SyntaxFault> {
    const TYPES: [&str; 6] = ["string", "integer", "double", "key", "pattern", "unix-time"];
    let (name, wanted) = match word.split_once(':') {
        Some(parts) => parts,
        None if word == "key" => (word, "key"),
        None => (word, "string"),
    };
    let kind = TYPES.iter().find(|known| **known == wanted);
    let kind = kind.ok_or_else(|| SyntaxFault(format!("unknown type in {word:?}")))?;
    Ok(Argument::new(name.to_owned(), Kind::Value(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rich_example_has_the_shape_it_shows() {
        let arguments = parse("key value... [NX | EX seconds:integer] [TYPE (A | B)] (x y)...").unwrap();
        let shape: Vec<_> = arguments
            .iter()
            .map(|a| (a.name.as_str(), a.type_name(), a.token.as_deref(), a.optional, a.multiple))
            .collect();
        assert_eq!(
            shape,
            [
                ("key", "key", None, false, false),
                ("value", "string", None, false, true),
                ("nx_seconds", "oneof", None, true, false),
                ("a_b", "oneof", Some("TYPE"), true, false),
                ("x_y", "block", None, false, true),
            ]
        );
        assert_eq!(arguments[2].inner()[1].token.as_deref(), Some("EX"));
        assert_eq!(arguments.iter().map(Argument::required).sum::<usize>(), 4);
    }

    #[test]
    fn mistakes_are_found() {
        for wrong in ["[a", "a]", "()", "a | b", "a:colour", "[|]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
