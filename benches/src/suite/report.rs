//! Medians, and tables in Markdown.

use std::fmt::Write as _;

/// The middle of `values` (the mean of the two middle ones of an even number); NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A number with three significant digits or more, and thousands set apart.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit != '-' && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// A table, printed when it's complete.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these column heads.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a column.
    pub fn column(&mut self, name: String) {
        self.columns.push(name);
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "{}: a row is as wide as the table", self.title);
        self.rows.push(cells);
    }

    /// As Markdown: the first column left, the others right.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n", self.title);
        let mut line = |cells: &[String]| {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&self.columns);
        let rules: Vec<String> =
            (0..self.columns.len()).map(|index| if index < 2 { "---" } else { "---:" }.to_owned()).collect();
        line(&rules);
        for row in &self.rows {
            line(row);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<String> =
            [0.2345, 4.567, 45.67, 456.7, 1_234_567.0, -1234.0, -123.0, f64::NAN].map(number).to_vec();
        assert_eq!(shown, ["0.234", "4.57", "45.7", "457", "1,234,567", "-1,234", "-123", "–"]);
    }

    #[test]
    fn table_is_markdown() {
        let mut table = Table::new("T", &["case", "server"]);
        table.column("ops".to_owned());
        table.row(vec!["a".to_owned(), "b".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.markdown(),
            "\n### T\n\n| case | server | ops |\n| --- | --- | ---: |\n| a | b | 1 |\n"
        );
    }
}
