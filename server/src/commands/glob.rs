//! Patterns of keys: `*`, `?`, `[a-z]`, `[^a]` and `\` before what is meant literally.
//!
//! The corners are Redis's: a class that is not closed ends with the pattern, a range may be given backwards, a last `\`
//! stands for itself, and only an empty pattern matches an empty text.

/// Whether letters of either case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They are not.
    Sensitive,
    /// They are.
    Insensitive,
}

impl Case {
    const fn fold(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Insensitive => byte.to_ascii_lowercase(),
        }
    }
}

/// Whether a text matches a pattern, in time proportional to the product of their lengths at worst: everything between two
/// stars is matched at the first place where it fits, because a later one can only leave less for what follows.
pub fn glob_match(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on if what follows the last star does not fit: behind the star, one byte further in the text.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, text));
                Some((rest, text))
            }
            ([], []) => return true,
            // A text that has ended with pattern left cannot be saved by a later start.
            (_, []) => return false,
            ([], _) => None,
            (_, [byte, text_rest @ ..]) => match_one(pattern, *byte, case).map(|rest| (rest, text_rest)),
        };
        if let Some(next) = step {
            (pattern, text) = next;
            continue;
        }
        match retry {
            Some((behind_star, [_, later @ ..])) => {
                retry = Some((behind_star, later));
                (pattern, text) = (behind_star, later);
            }
            _ => return false,
        }
    }
}

/// The rest of the pattern, if its first element matches the byte.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<&[u8]> {
    let same = |literal: u8| case.fold(literal) == case.fold(byte);
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => {
            let (matches, rest) = match_class(class, byte, case);
            matches.then_some(rest)
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => same(*literal).then_some(rest),
        [] => None,
    }
}

/// Whether the class, whose `[` has been read, has the byte; and what follows its `]`.
fn match_class(class: &[u8], byte: u8, case: Case) -> (bool, &[u8]) {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let folded = case.fold(byte);
    let mut found = false;
    loop {
        rest = match rest {
            // An escaped member is compared as it is, even where case does not matter.
            [b'\\', literal, tail @ ..] => {
                found |= *literal == byte;
                tail
            }
            [b']', tail @ ..] => return (found != negated, tail),
            [] => return (found != negated, rest),
            [a, b'-', b, tail @ ..] => {
                let (low, high) = (case.fold(*a.min(b)), case.fold(*a.max(b)));
                found |= (low..=high).contains(&folded);
                tail
            }
            [literal, tail @ ..] => {
                found |= case.fold(*literal) == folded;
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Word for word what the rules say, by trying everything. Exponential, so for short inputs only.
    fn naive(pattern: &[u8], text: &[u8], case: Case) -> bool {
        fn tail(pattern: &[u8], text: &[u8], case: Case) -> bool {
            match (pattern, text) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| tail(rest, &text[skip..], case)),
                (_, []) | ([], _) => false,
                (_, [byte, text_rest @ ..]) => element(pattern).is_some_and(|(members, rest)| {
                    members.contains(*byte, case) && tail(rest, text_rest, case)
                }),
            }
        }
        if text.is_empty() { pattern.is_empty() } else { tail(pattern, text, case) }
    }

    struct Members(Vec<u8>, bool);

    impl Members {
        /// A set of plain bytes; folding happens while the set is built.
        fn contains(&self, byte: u8, case: Case) -> bool {
            let byte = if case == Case::Insensitive && !self.0.contains(&byte) {
                if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
            } else {
                byte
            };
            self.0.contains(&byte) != self.1
        }
    }

    /// The bytes that the first element of a pattern stands for; case is left to [`Members`].
    fn element(pattern: &[u8]) -> Option<(Members, &[u8])> {
        Some(match pattern {
            [] => return None,
            [b'?', rest @ ..] => (Members((0..=255).collect(), false), rest),
            [b'[', rest @ ..] => {
                let negated = rest.first() == Some(&b'^');
                let mut at = usize::from(negated);
                let mut set = Vec::new();
                while at < rest.len() && rest[at] != b']' {
                    if rest[at] == b'\\' && at + 1 < rest.len() {
                        set.push(rest[at + 1]);
                        at += 2;
                    } else if at + 2 < rest.len() && rest[at + 1] == b'-' {
                        let (a, b) = (rest[at].min(rest[at + 2]), rest[at].max(rest[at + 2]));
                        set.extend(a..=b);
                        at += 3;
                    } else {
                        set.push(rest[at]);
                        at += 1;
                    }
                }
                (Members(set, negated), &rest[(at + 1).min(rest.len())..])
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (Members(vec![*byte], false), rest),
        })
    }

    fn pattern() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(b"ab*?[]^-\\c".to_vec()), 0..9)
    }

    proptest! {
        #[test]
        fn agrees_with_trying_everything(
            pattern in pattern(),
            text in proptest::collection::vec(proptest::sample::select(b"abc]-\\[".to_vec()), 0..8),
        ) {
            prop_assert_eq!(
                glob_match(&pattern, &text, Case::Sensitive),
                naive(&pattern, &text, Case::Sensitive),
                "{:?} {:?}", String::from_utf8_lossy(&pattern), String::from_utf8_lossy(&text)
            );
        }

        #[test]
        fn any_bytes_are_a_pattern(pattern: Vec<u8>, text: Vec<u8>) {
            glob_match(&pattern, &text, Case::Insensitive);
            glob_match(&pattern, &text, Case::Sensitive);
        }
    }

    #[test]
    fn corners_are_redis_corners() {
        let cases: [(&str, &str, bool); 22] = [
            ("h?llo", "hello", true),
            ("h*llo", "hllo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a\\", "a\\", true),
            ("[", "a", false),
            ("[^", "a", true),
            ("[abc", "b", true),
            ("[a-", "-", true),
            ("[]a]", "a]", false),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "aba", true),
            ("*?", "a", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                glob_match(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(glob_match(b"MAX*-[M-P]*", b"maxmemory-policy", Case::Insensitive));
    }

    #[test]
    fn many_stars_cost_no_more_than_a_product() {
        // With a matcher that tries everything this would take longer than the universe has existed.
        let pattern = "a*".repeat(64) + "b";
        let text = "a".repeat(4096);
        assert!(!glob_match(pattern.as_bytes(), text.as_bytes(), Case::Sensitive));
    }
}
