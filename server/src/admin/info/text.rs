//! Lines and sections of INFO.

use std::fmt::{Display, Write};

/// The text under construction.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a section.
    pub(super) fn heading(&mut self, title: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.0.push_str("# ");
        self.0.push_str(title);
        self.0.push_str("\r\n");
        self
    }

    /// One line of a section.
    pub(super) fn field(&mut self, name: impl Display, value: impl Display) -> &mut Self {
        // Writing to a String doesn't fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
        self
    }

    /// A quantity of bytes, and beside it the same for people.
    pub(super) fn bytes(&mut self, name: &str, bytes: u64) -> &mut Self {
        self.field(name, bytes).field(format_args!("{name}_human"), human_bytes(bytes))
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Bytes for people, as Redis prints them: `512B`, `1.50K`, `2.00G`.
pub fn human_bytes(bytes: u64) -> String {
    let units = [("T", 1_u64 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

/// A part as a share of a whole; 0 when there's no whole.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
