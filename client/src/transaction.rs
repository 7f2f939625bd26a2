//! MULTI and EXEC around commands, and what their replies mean.

use crate::{Command, Error, Pipeline, Result, Value, command::Payload, convert::result_of};

/// The commands between MULTI and EXEC.
pub(crate) fn payloads(pipeline: Pipeline) -> Vec<Payload> {
    let commands = pipeline.commands.into_iter();
    let commands = std::iter::once(Command::new("MULTI")).chain(commands);
    commands.chain([Command::new("EXEC")]).map(Command::payload).collect()
}

/// The outcome, of the replies to [`payloads`]: `None` if a watched key had changed. An error means that nothing was done.
pub(crate) fn outcome(mut replies: Vec<Value>) -> Result<Option<Vec<Result<Value>>>> {
    let exec = replies.pop();
    let refused = replies.iter().find_map(|reply| match reply {
        Value::Error(text) => Some(Error::from_reply(text)),
        _ => None,
    });
    match exec {
        Some(Value::Array(results)) => Ok(Some(results.into_iter().map(result_of).collect())),
        Some(Value::Null) => Ok(None),
        // What was wrong with a command says more than that the transaction was given up.
        Some(Value::Error(text)) => Err(refused.unwrap_or_else(|| Error::from_reply(&text))),
        other => {
            Err(Error::Protocol(format!("an answer to EXEC that is {}", other.unwrap_or(Value::Null).kind())))
        }
    }
}

/// The same where nothing was watched.
pub(crate) fn unwatched_outcome(replies: Vec<Value>) -> Result<Vec<Result<Value>>> {
    outcome(replies)?.ok_or_else(|| Error::Protocol("EXEC speaks of watched keys; there are none".to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn simple(text: &'static str) -> Value {
        Value::Simple(Bytes::from_static(text.as_bytes()))
    }

    fn error(text: &'static str) -> Value {
        Value::Error(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_outcome_is_what_exec_says() {
        let done = Value::Array(vec![Value::Integer(1), error("WRONGTYPE x")]);
        let results = outcome(vec![simple("OK"), simple("QUEUED"), simple("QUEUED"), done]).unwrap().unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!(results[0], Ok(Value::Integer(1)));
        assert!(matches!(results[1], Err(Error::WrongType(_))));
        assert_eq!(outcome(vec![simple("OK"), Value::Null]), Ok(None));
    }

    #[test]
    fn a_command_that_was_refused_is_the_error() {
        let replies = vec![simple("OK"), error("ERR unknown command 'x'"), error("EXECABORT Transaction")];
        assert!(matches!(outcome(replies), Err(Error::Server { text, .. }) if text.contains("unknown")));
        let replies = vec![simple("OK"), error("EXECABORT Transaction")];
        assert!(matches!(outcome(replies), Err(Error::Server { prefix, .. }) if prefix == "EXECABORT"));
        assert!(matches!(outcome(vec![simple("OK"), simple("QUEUED")]), Err(Error::Protocol(_))));
    }
}
