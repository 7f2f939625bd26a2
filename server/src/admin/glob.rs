//! placeholder until commands::glob_match is in the tree
pub(super) fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|n| glob_match(rest, &text[n..])),
        [b'?', rest @ ..] => !text.is_empty() && glob_match(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && glob_match(rest, &text[1..]),
    }
}
