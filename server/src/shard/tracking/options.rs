//! The options of CLIENT TRACKING.

use annulus_protocol::parse_i64;

use super::super::serve::quoting;

/// What CLIENT TRACKING may choose, beside where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrackingOptions {
    pub(super) broadcast: bool,
    pub(super) opt_in: bool,
    pub(super) opt_out: bool,
    pub(super) no_loop: bool,
    /// Of BCAST; the empty one is every key.
    pub(super) prefixes: Vec<Box<[u8]>>,
}

/// A whole CLIENT TRACKING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrackingCommand {
    pub(super) on: bool,
    /// A client's number; 0: to the connection itself.
    pub(super) redirect: i64,
    pub(super) options: TrackingOptions,
}

const SYNTAX: &str = "ERR syntax error";

impl TrackingCommand {
    /// Reads `ON | OFF` and what follows.
    pub(super) fn parse(args: &[&[u8]]) -> Result<Self, Vec<u8>> {
        let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        let mut command = TrackingCommand::default();
        let Some((switch, mut rest)) = args.split_first() else { return Err(SYNTAX.into()) };
        while let Some((option, after)) = rest.split_first() {
            rest = after;
            let options = &mut command.options;
            match (option, after) {
                (option, [client, after @ ..]) if is(option, "redirect") => {
                    if command.redirect != 0 {
                        return Err("ERR A client can only redirect to a single other client".into());
                    }
                    command.redirect =
                        parse_i64(client).ok_or("ERR value is not an integer or out of range")?;
                    rest = after;
                }
                (option, [prefix, after @ ..]) if is(option, "prefix") => {
                    options.prefixes.push((*prefix).into());
                    rest = after;
                }
                (option, _) if is(option, "bcast") => options.broadcast = true,
                (option, _) if is(option, "optin") => options.opt_in = true,
                (option, _) if is(option, "optout") => options.opt_out = true,
                (option, _) if is(option, "noloop") => options.no_loop = true,
                _ => return Err(SYNTAX.into()),
            }
        }
        match *switch {
            switch if is(switch, "on") => command.on = true,
            switch if is(switch, "off") => {}
            _ => return Err(SYNTAX.into()),
        }
        Ok(command)
    }
}

impl TrackingOptions {
    /// Whether these options may follow those that are in force.
    pub(super) fn check(&self, before: Option<&TrackingOptions>) -> Result<(), Vec<u8>> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
        }
        if before.is_some_and(|before| before.broadcast != self.broadcast) {
            return Err(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                    .into(),
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        if before.is_some_and(|before| self.opt_in && before.opt_out || self.opt_out && before.opt_in) {
            return Err(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                    .into(),
            );
        }
        self.check_prefixes(before.map_or(&[], |before| &before.prefixes))
    }

    fn check_prefixes(&self, before: &[Box<[u8]>]) -> Result<(), Vec<u8>> {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let refuse = |prefix: &[u8], which: &str, other: &[u8]| {
            let first = quoting("ERR Prefix '", prefix, "' overlaps with ");
            let second = quoting(which, other, "'. Prefixes for a single client must not overlap.");
            Err([first, second].concat())
        };
        for (index, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = before.iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, "an existing prefix '", other);
            }
            if let Some(other) = self.prefixes[index + 1..].iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, "another provided prefix '", other);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<TrackingCommand, String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        TrackingCommand::parse(&args).map_err(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn what_contradicts_itself_or_what_is_in_force_is_refused() {
        let check = |line: &str, before: Option<&str>| {
            let before = before.map(|line| parse(line).unwrap().options);
            parse(line)
                .unwrap()
                .options
                .check(before.as_ref())
                .map_err(|text| String::from_utf8(text).unwrap())
        };
        assert_eq!(check("on", Some("on optin")), Ok(()));
        assert!(check("on prefix a", None).unwrap_err().contains("requires BCAST"));
        assert!(check("on", Some("on bcast")).unwrap_err().contains("switch BCAST mode"));
        assert!(check("on bcast optin", None).unwrap_err().contains("not compatible"));
        assert!(check("on optin optout", None).unwrap_err().contains("both OPTIN"));
        assert!(check("on optout", Some("on optin")).unwrap_err().contains("switch OPTIN/OPTOUT"));
        assert_eq!(
            check("on bcast prefix ab prefix abc", None).unwrap_err(),
            "ERR Prefix 'ab' overlaps with another provided prefix 'abc'. Prefixes for a single client must not overlap."
        );
        assert_eq!(
            check("on bcast prefix a", Some("on bcast prefix ab")).unwrap_err(),
            "ERR Prefix 'a' overlaps with an existing prefix 'ab'. Prefixes for a single client must not overlap."
        );
        assert!(parse("on redirect").is_err() && parse("maybe").is_err() && parse("on redirect x").is_err());
        assert_eq!(parse("on redirect 7 noloop").unwrap().redirect, 7);
    }
}
