//! Matches one pattern at one place (<https://www.lua.org/manual/5.1/manual.html#5.4.1>).

use mlua::{Function, Lua};
use smallvec::SmallVec;

use super::super::machine::PAUSE;
use super::message;

/// Captures of a pattern at most.
const CAPTURES_MAX: usize = 32;
/// How deep repetitions and captures nest in one another.
const DEPTH_MAX: u32 = 200;
/// Steps after which a match pauses: about as long as a slice of instructions.
const STEPS_PER_SLICE: u32 = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// It began here and is not closed.
    Open(usize),
    Text(usize, usize),
    Position(usize),
}

pub(super) struct Matcher<'a> {
    lua: &'a Lua,
    source: &'a [u8],
    pattern: &'a [u8],
    captures: SmallVec<[Capture; 8]>,
    steps: u32,
    depth: u32,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(lua: &'a Lua, source: &'a [u8], pattern: &'a [u8]) -> Self {
        Matcher { lua, source, pattern, captures: SmallVec::new(), steps: 0, depth: 0 }
    }

    pub(super) fn source(&self) -> &'a [u8] {
        self.source
    }

    pub(super) fn captures(&self) -> &[Capture] {
        &self.captures
    }

    /// The end of the match that begins at `start`.
    pub(super) fn run(&mut self, start: usize) -> mlua::Result<Option<usize>> {
        self.captures.clear();
        self.depth = 0;
        self.match_here(start, 0)
    }

    fn fail<T>(&self, text: &str) -> mlua::Result<T> {
        Err(message(self.lua, text))
    }

    fn step(&mut self) -> mlua::Result<()> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_SLICE) {
            self.lua.named_registry_value::<Function>(PAUSE)?.call::<()>(())?;
        }
        Ok(())
    }

    /// Matches the rest of the pattern, one level deeper.
    fn match_deeper(&mut self, at: usize, pattern: usize) -> mlua::Result<Option<usize>> {
        if self.depth == DEPTH_MAX {
            return self.fail("pattern too complex");
        }
        self.depth += 1;
        let end = self.match_here(at, pattern);
        self.depth -= 1;
        end
    }

    fn match_here(&mut self, mut at: usize, mut pattern: usize) -> mlua::Result<Option<usize>> {
        loop {
            self.step()?;
            let Some(&first) = self.pattern.get(pattern) else { return Ok(Some(at)) };
            let second = self.pattern.get(pattern + 1).copied();
            match (first, second) {
                (b'(', Some(b')')) => {
                    return self.capture(Capture::Position(at), at, pattern + 2);
                }
                (b'(', _) => return self.capture(Capture::Open(at), at, pattern + 1),
                (b')', _) => return self.close(at, pattern + 1),
                (b'$', None) => return Ok((at == self.source.len()).then_some(at)),
                (b'%', Some(b'b')) => match self.balance(at, pattern + 2)? {
                    Some(end) => (at, pattern) = (end, pattern + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => {
                    let set = pattern + 2;
                    if self.pattern.get(set) != Some(&b'[') {
                        return self.fail("missing '[' after '%f' in pattern");
                    }
                    let end = self.item_end(set)?;
                    let before = at.checked_sub(1).map_or(0, |before| self.source[before]);
                    let here = self.source.get(at).copied().unwrap_or(0);
                    if self.in_set(before, set, end - 1) || !self.in_set(here, set, end - 1) {
                        return Ok(None);
                    }
                    pattern = end;
                }
                (b'%', Some(digit @ b'0'..=b'9')) => match self.back_reference(at, digit)? {
                    Some(end) => (at, pattern) = (end, pattern + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.item_end(pattern)?;
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if self.matches_one(at, pattern, end)
                                && let Some(end) = self.match_deeper(at + 1, end + 1)?
                            {
                                return Ok(Some(end));
                            }
                            pattern = end + 1;
                        }
                        Some(b'*') => return self.most(at, 0, pattern, end),
                        Some(b'+') => return self.most(at, 1, pattern, end),
                        Some(b'-') => return self.fewest(at, pattern, end),
                        _ => {
                            if !self.matches_one(at, pattern, end) {
                                return Ok(None);
                            }
                            (at, pattern) = (at + 1, end);
                        }
                    }
                }
            }
        }
    }

    /// As many repetitions as possible, and fewer if the rest wants that.
    fn most(&mut self, at: usize, least: usize, item: usize, end: usize) -> mlua::Result<Option<usize>> {
        let mut count = 0;
        while self.matches_one(at + count, item, end) {
            count += 1;
            self.step()?;
        }
        for count in (least..=count).rev() {
            if let Some(end) = self.match_deeper(at + count, end + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// As few repetitions as the rest allows.
    fn fewest(&mut self, mut at: usize, item: usize, end: usize) -> mlua::Result<Option<usize>> {
        loop {
            if let Some(end) = self.match_deeper(at, end + 1)? {
                return Ok(Some(end));
            }
            if !self.matches_one(at, item, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn capture(&mut self, capture: Capture, at: usize, pattern: usize) -> mlua::Result<Option<usize>> {
        if self.captures.len() == CAPTURES_MAX {
            return self.fail("too many captures");
        }
        self.captures.push(capture);
        let count = self.captures.len();
        let end = self.match_deeper(at, pattern)?;
        if end.is_none() {
            self.captures.truncate(count - 1);
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, pattern: usize) -> mlua::Result<Option<usize>> {
        let open = self.captures.iter().rposition(|it| matches!(it, Capture::Open(_)));
        let Some(index) = open else { return self.fail("invalid pattern capture") };
        let before = self.captures[index];
        if let Capture::Open(start) = before {
            self.captures[index] = Capture::Text(start, at);
        }
        let end = self.match_deeper(at, pattern)?;
        if end.is_none() {
            self.captures[index] = before;
        }
        Ok(end)
    }

    fn balance(&mut self, at: usize, pattern: usize) -> mlua::Result<Option<usize>> {
        let (Some(&open), Some(&close)) = (self.pattern.get(pattern), self.pattern.get(pattern + 1)) else {
            return self.fail("unbalanced pattern");
        };
        if self.source.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for index in at + 1..self.source.len() {
            self.step()?;
            let byte = self.source[index];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(index + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn back_reference(&self, at: usize, digit: u8) -> mlua::Result<Option<usize>> {
        let index = usize::from(digit).checked_sub(usize::from(b'1'));
        match index.and_then(|index| self.captures.get(index)) {
            Some(Capture::Text(start, end)) => {
                let captured = &self.source[*start..*end];
                Ok(self.source[at..].starts_with(captured).then_some(at + captured.len()))
            }
            Some(Capture::Position(_)) => Ok(Some(at)),
            _ => self.fail("invalid capture index"),
        }
    }

    /// Where the item that begins here ends: one byte, a class, or a set.
    fn item_end(&self, item: usize) -> mlua::Result<usize> {
        match self.pattern.get(item) {
            Some(b'%') if item + 1 >= self.pattern.len() => self.fail("malformed pattern (ends with '%')"),
            Some(b'%') => Ok(item + 2),
            Some(b'[') => {
                let mut at = item + 1 + usize::from(self.pattern.get(item + 1) == Some(&b'^'));
                // A bracket that comes first is a member.
                loop {
                    match self.pattern.get(at) {
                        None => return self.fail("malformed pattern (missing ']')"),
                        Some(b'%') => at += 2,
                        Some(_) => at += 1,
                    }
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(item + 1),
        }
    }

    fn matches_one(&self, at: usize, item: usize, end: usize) -> bool {
        let Some(&byte) = self.source.get(at) else { return false };
        match self.pattern[item] {
            b'.' => true,
            b'%' => is_in_class(byte, self.pattern[item + 1]),
            b'[' => self.in_set(byte, item, end - 1),
            other => other == byte,
        }
    }

    /// Whether a byte is in the set from the bracket at `begin` to the one at `end`.
    fn in_set(&self, byte: u8, begin: usize, end: usize) -> bool {
        let negated = self.pattern.get(begin + 1) == Some(&b'^');
        let mut members = &self.pattern[begin + 1 + usize::from(negated)..end];
        let mut found = false;
        while let Some((&first, rest)) = members.split_first() {
            members = match (first, rest) {
                (b'%', [class, rest @ ..]) => {
                    found |= is_in_class(byte, *class);
                    rest
                }
                (low, [b'-', high, rest @ ..]) => {
                    found |= (low..=*high).contains(&byte);
                    rest
                }
                _ => {
                    found |= first == byte;
                    rest
                }
            };
        }
        found != negated
    }
}

fn is_in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 11,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}
