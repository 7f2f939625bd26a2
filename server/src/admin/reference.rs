//! The reference of the settings, `docs/configuration.md`, as far as it follows from the table.

use std::fmt::Write;

use super::settings::{Change, SETTINGS, Settings};

/// The text between the reference's markers: one section for each setting.
pub fn markdown() -> String {
    let defaults = Settings { shards: 1, ..Settings::default() };
    let mut text = String::new();
    for row in SETTINGS {
        let default = match (row.name, (row.toml)(&defaults)) {
            ("shards", _) => "`\"auto\"`".to_owned(),
            (_, value) => format!("`{value}`"),
        };
        let change = match row.change {
            Change::Live => "with `CONFIG SET`, or at the start",
            Change::Start => "at the start",
        };
        let (name, variable, hint) = (row.name, row.variable(), row.hint.replace('|', "\\|"));
        let details = row.paragraphs().collect::<Vec<_>>().join("\n\n");
        // Writing to a String doesn't fail.
        let _ = write!(
            text,
            "### {name}\n\n{details}\n\n\
             | value | default | environment | changes |\n|---|---|---|---|\n\
             | {hint} | {default} | `{variable}` | {change} |\n\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- settings: begin -->\n";
    const END: &str = "<!-- settings: end -->\n";

    /// `ANNULUS_WRITE_REFERENCE=1 cargo test -p annulus reference` brings the file up to date.
    #[test]
    fn the_reference_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let file = std::fs::read_to_string(path).expect("the reference");
        let (head, rest) = file.split_once(BEGIN).expect("a begin marker");
        let (body, tail) = rest.split_once(END).expect("an end marker");
        if std::env::var_os("ANNULUS_WRITE_REFERENCE").is_some() {
            let text = format!("{head}{BEGIN}\n{}{END}{tail}", markdown());
            #[expect(clippy::disallowed_methods, reason = "the test was asked to write the file")]
            std::fs::write(path, text).expect("the reference can be written");
            return;
        }
        assert_eq!(
            body.trim(),
            markdown().trim(),
            "docs/configuration.md is old: ANNULUS_WRITE_REFERENCE=1 cargo test -p annulus reference"
        );
    }
}
