//! `redis://` and `unix://` URLs. Small enough to need no crate: what this doesn't understand, it refuses.

use std::time::Duration;

use crate::{Endpoint, Error, Options, Result, Routing};

const PORT: u16 = 6379;

pub(crate) fn parse(url: &str) -> Result<Options> {
    let refuse = |why: &str| Err(Error::Url(why.to_owned()));
    let Some((scheme, rest)) = url.split_once("://") else { return refuse("it has no scheme") };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut options = match scheme {
        "redis" | "rediss" => over_tcp(rest)?,
        "unix" | "redis+unix" => over_unix(rest)?,
        _ => return refuse("its scheme is none of redis, rediss and unix"),
    };
    let mut authority = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "ca" if scheme == "rediss" => authority = Some(decode(value)?),
            name => set(&mut options, name, &decode(value)?)?,
        }
    }
    if scheme == "rediss" {
        encrypt(&mut options, authority)?;
    }
    Ok(options)
}

fn over_tcp(rest: &str) -> Result<Options> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let mut options = Options::new(host_and_port(host)?);
    if let Some(credentials) = credentials {
        set_credentials(&mut options, credentials)?;
    }
    if !path.is_empty() {
        options.database = number("the database", path)?;
    }
    Ok(options)
}

#[cfg(feature = "tls")]
fn encrypt(options: &mut Options, authority: Option<String>) -> Result<()> {
    options.tls = Some(match authority {
        Some(file) => crate::Tls::with_authority(file)?,
        None => crate::Tls::with_system_authorities()?,
    });
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn encrypt(_: &mut Options, _: Option<String>) -> Result<()> {
    Err(Error::Url("rediss:// needs the feature `tls` of annulus-client".to_owned()))
}

fn over_unix(rest: &str) -> Result<Options> {
    let (credentials, path) = match rest.split_once('@') {
        // A path may have an @ of its own.
        Some((credentials, path)) if !credentials.contains('/') => (Some(credentials), path),
        _ => (None, rest),
    };
    if !path.starts_with('/') {
        return Err(Error::Url("the path of a Unix socket must be absolute".to_owned()));
    }
    let mut options = Options::new(Endpoint::Unix(decode(path)?.into()));
    if let Some(credentials) = credentials {
        set_credentials(&mut options, credentials)?;
    }
    Ok(options)
}

fn host_and_port(text: &str) -> Result<Endpoint> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => (address, rest.strip_prefix(':')),
        Some(None) => return Err(Error::Url("a [ without its ]".to_owned())),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host = if host.is_empty() { "127.0.0.1".to_owned() } else { decode(host)? };
    let port = port.map_or(Ok(PORT), |port| number("the port", port))?;
    Ok(Endpoint::Tcp { host, port })
}

fn set_credentials(options: &mut Options, text: &str) -> Result<()> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    options.username = Some(decode(user)?).filter(|user| !user.is_empty());
    options.password = Some(decode(password)?).filter(|password| !password.is_empty());
    if options.username.is_some() && options.password.is_none() {
        return Err(Error::Url("a user without a password".to_owned()));
    }
    Ok(())
}

fn set(options: &mut Options, name: &str, value: &str) -> Result<()> {
    match (name, value) {
        ("db", _) => options.database = number("the database", value)?,
        ("routing", "single") => options.routing = Routing::Single,
        ("routing", "shards") => options.routing = Routing::Shards,
        ("timeout_ms", _) => options.timeout = Duration::from_millis(number("timeout_ms", value)?),
        ("name", _) => options.client_name = Some(value.to_owned()),
        _ => return Err(Error::Url(format!("unknown parameter or value: {name}"))),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::Url(format!("{what} is no number in its range")))
}

fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(decoded.ok_or_else(|| Error::Url("a % without two digits".to_owned()))?);
            rest = rest.get(2..).unwrap_or_default();
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::Url("it is not in UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn urls_say_where_who_and_what() {
        for (url, endpoint, user, password, database) in [
            ("redis://", tcp("127.0.0.1", 6379), None, None, 0),
            ("redis://db.example", tcp("db.example", 6379), None, None, 0),
            ("redis://db.example:1/", tcp("db.example", 1), None, None, 0),
            ("redis://:pw@h/2", tcp("h", 6379), None, Some("pw"), 2),
            ("redis://me:p%3Aw%2F@[fe80::1]:7/15", tcp("fe80::1", 7), Some("me"), Some("p:w/"), 15),
            ("redis://me:p@w@h", tcp("h", 6379), Some("me"), Some("p@w"), 0),
            ("unix:///run/a@b.sock?db=4", Endpoint::Unix("/run/a@b.sock".into()), None, None, 4),
            ("redis+unix://:pw@/s", Endpoint::Unix("/s".into()), None, Some("pw"), 0),
        ] {
            let options = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(options.endpoint, endpoint, "{url}");
            assert_eq!(options.username.as_deref(), user, "{url}");
            assert_eq!(options.password.as_deref(), password, "{url}");
            assert_eq!(options.database, database, "{url}");
        }
        let options = parse("redis://h?routing=shards&timeout_ms=30&name=web%201").unwrap();
        assert_eq!(options.routing, Routing::Shards);
        assert_eq!(options.timeout, Duration::from_millis(30));
        assert_eq!(options.client_name.as_deref(), Some("web 1"));
    }

    #[test]
    fn urls_that_would_be_misread_are_refused() {
        for url in [
            "",
            "localhost",
            "http://h",
            "redis://h:x",
            "redis://h:70000",
            "redis://h/x",
            "redis://[::1",
            "redis://me@h",
            "unix://relative",
            "redis://h?typo=1",
            "redis://%zz",
            "redis://%ff",
            "redis://h?routing=",
        ] {
            assert!(matches!(parse(url), Err(Error::Url(_))), "{url}");
        }
        assert_eq!(parse("rediss://h").is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = parse("redis://me:hunter2@h").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
