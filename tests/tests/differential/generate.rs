//! Random commands. Each row of [`ROWS`] is a command with the kinds of its arguments; around that, arguments are sometimes
//! dropped, doubled, replaced or shuffled, because what is wrong must be answered as Redis answers it.

use annulus_tests::random::Random;

use rows::Kind::{
    self, AtMillis, AtSeconds, BitOffset, BitType, Database, Either, Float, Key, Keys, Millis, Number,
    Offset, Options, Pairs, Pattern, Seconds, Several, Value, Values, Word,
};
use rows::{ROWS, Row};
use values::{
    AT_MILLIS, AT_SECONDS, BIT_OFFSETS, BIT_TYPES, DATABASES, FLOATS, MILLIS, NUMBERS, OFFSETS, PATTERNS,
    SECONDS,
};

mod rows;
mod values;

pub(super) use values::KEYS;

pub(super) type Arguments = Vec<Vec<u8>>;

/// What to do next.
pub(super) enum Step {
    /// Send this.
    Command(Arguments),
    /// Iterate over the whole database with these options.
    FullScan(Arguments),
}

/// What listeners are told of in another way, or at another time.
fn is_told_otherwise(arguments: &[Vec<u8>]) -> bool {
    let any = |test: &dyn Fn(&[u8]) -> bool| arguments.iter().skip(1).any(|argument| test(argument));
    match arguments[0].to_ascii_lowercase().as_slice() {
        // Who listens may have any number.
        b"client" => any(&|argument| argument.eq_ignore_ascii_case(b"kill")),
        // A key that is over its time when it is set expires whenever it is come across.
        b"set" => any(&is_past),
        // redis makes strings longer for fields that overflow, and tells nobody.
        b"bitfield" => any(&|argument| argument.eq_ignore_ascii_case(b"fail")),
        // redis looks for the key before it refuses a rank that it cannot negate.
        b"lpos" => any(&|argument| argument == i64::MIN.to_string().as_bytes()),
        // redis ends patterns at a zero byte, and so looks for nothing.
        b"sort" | b"sort_ro" => any(&|argument| argument.starts_with(b"\0")),
        _ => false,
    }
}

/// Whether it may be a moment that has passed.
fn is_past(argument: &[u8]) -> bool {
    AT_SECONDS
        .iter()
        .chain(AT_MILLIS)
        .filter(|text| text.starts_with('1'))
        .any(|text| text.as_bytes() == argument)
}

pub(super) struct Generator {
    random: Random,
    total_weight: usize,
    oracle: (u32, u32),
    times_drawn: u64,
    /// What must follow the last command directly.
    next: Option<Arguments>,
    /// Somebody listens.
    heard: bool,
}

impl Generator {
    pub(super) fn new(random: Random, oracle: (u32, u32)) -> Self {
        Self {
            random,
            total_weight: ROWS.iter().map(|row| row.weight).sum(),
            oracle,
            times_drawn: 0,
            next: None,
            heard: false,
        }
    }

    /// From now on only commands of which both servers tell at the same time.
    pub(super) fn keep_heard(&mut self) {
        self.heard = true;
    }

    /// How many commands the next pipeline holds.
    pub(super) fn pipeline_length(&mut self, most: usize) -> usize {
        if self.random.one_in(3) { 1 } else { 1 + self.random.below(most) }
    }

    pub(super) fn step(&mut self) -> Step {
        if let Some(arguments) = self.next.take() {
            return Step::Command(arguments);
        }
        if self.random.one_in(60) {
            return Step::FullScan(self.scan_options());
        }
        loop {
            let row = self.row();
            let mut arguments = vec![self.spelled(row.name)];
            for &kind in row.arguments {
                self.argument(kind, &mut arguments);
            }
            if self.random.one_in(25) {
                self.spoil(&mut arguments);
            }
            if self.may_be_sent(&arguments) {
                // redis keeps a key that was set with a time in the past until it is looked at; SCAN looks at all.
                if arguments[0].eq_ignore_ascii_case(b"dbsize") {
                    self.next = Some(arguments);
                    return Step::FullScan(Arguments::new());
                }
                return Step::Command(arguments);
            }
        }
    }

    /// Not what would allocate half a gigabyte, close the connection or stop the server, nor what an old oracle
    /// answers in a way that later versions corrected.
    fn may_be_sent(&self, arguments: &[Vec<u8>]) -> bool {
        let is = |index: usize, word: &str| {
            arguments.get(index).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
        };
        let kills_without_filter =
            is(0, "client") && is(1, "kill") && (!arguments.len().is_multiple_of(2) || is(2, "skipme"));
        // Its error repeats the argument; redis repeats it up to its first zero byte.
        let cut_by_redis =
            (is(0, "client") || is(0, "pfdebug")) && arguments.iter().any(|argument| argument.contains(&0));
        // 7.2 corrected the arity: COMMAND GETKEYS of a command alone.
        // Lists all commands, in an order of its own; command_table.rs compares them.
        let all_commands = is(0, "command") && arguments.len() == 1;
        let lone_getkeys =
            is(0, "command") && is(1, "getkeys") && arguments.len() == 3 && self.oracle < (7, 2);
        // One random member less would make all that follows differ.
        let pops_one = is(0, "spop") && arguments.len() == 2;
        let is_lex_set =
            arguments.get(1).is_some_and(|key| key.ends_with(b"lex") || key.starts_with(b"lex:"));
        let scores_a_lex_set =
            is(0, "zadd") && is_lex_set && arguments.iter().skip(2).step_by(2).any(|score| score != b"0");
        // See [`TRIMMED`].
        let any = |test: &dyn Fn(&[u8]) -> bool| arguments.iter().any(|argument| test(argument));
        let about = any(&|argument| argument == b"~");
        let trims = any(&|argument| {
            argument.eq_ignore_ascii_case(b"maxlen") || argument.eq_ignore_ascii_case(b"minid")
        });
        let splits_nodes = trims && !about || any(&|argument| argument.len() > 64);
        let trims_otherwise =
            (is(0, "xadd") || is(0, "xtrim")) && if is(1, "trimmed") { splits_nodes } else { about };
        let unheard = self.heard && is_told_otherwise(arguments);
        !pops_one
            && !kills_without_filter
            && !cut_by_redis
            && !lone_getkeys
            && !all_commands
            && !scores_a_lex_set
            && !trims_otherwise
            && !unheard
    }

    fn row(&mut self) -> &'static Row {
        let mut at = self.random.below(self.total_weight);
        for row in ROWS {
            if at < row.weight {
                return row;
            }
            at -= row.weight;
        }
        &ROWS[0]
    }

    /// Names and options are known in any case.
    fn spelled(&mut self, word: &str) -> Vec<u8> {
        match self.random.below(4) {
            0 => word.to_lowercase().into_bytes(),
            1 => {
                let mut flip =
                    |byte: u8| if self.random.one_in(2) { byte.to_ascii_lowercase() } else { byte };
                word.bytes().map(&mut flip).collect()
            }
            _ => word.as_bytes().to_vec(),
        }
    }

    fn argument(&mut self, kind: Kind, arguments: &mut Arguments) {
        let text = match kind {
            Key => self.key(),
            Value => self.value(),
            Number => self.number(),
            Float => self.random.pick(FLOATS).as_bytes().to_vec(),
            Offset => self.random.pick(OFFSETS).as_bytes().to_vec(),
            Seconds => self.relative_time(SECONDS, "00"),
            Millis => self.relative_time(MILLIS, "00000"),
            AtSeconds => self.mostly_sane(AT_SECONDS, 3),
            AtMillis => self.mostly_sane(AT_MILLIS, 3),
            Database => self.random.pick(DATABASES).as_bytes().to_vec(),
            Pattern => self.random.pick(PATTERNS).to_vec(),
            Word(words) => {
                let word = self.random.pick(words);
                if word.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    self.spelled(word)
                } else {
                    word.into()
                }
            }
            BitOffset => self.mostly_sane(BIT_OFFSETS, 16),
            BitType => self.mostly_sane(BIT_TYPES, 12),
            Values(most) => {
                for _ in 0..self.random.below(most + 1) {
                    arguments.push(self.value());
                }
                return;
            }
            Either(lists) => {
                self.random.pick(lists).iter().for_each(|kind| self.argument(*kind, arguments));
                return;
            }
            Several(most, list) => {
                for _ in 0..self.random.below(most + 1) {
                    for kind in list {
                        self.argument(*kind, arguments);
                    }
                }
                return;
            }
            Options(options) => return self.options(options, arguments),
            Keys(most) => {
                for _ in 0..self.random.below(most + 1) {
                    arguments.push(self.key());
                }
                return;
            }
            Pairs(most) => {
                for _ in 0..self.random.below(most + 1) {
                    arguments.push(self.key());
                    arguments.push(self.value());
                }
                return;
            }
        };
        arguments.push(text);
    }

    fn options(&mut self, options: &[(&'static str, Option<&'static Kind>)], arguments: &mut Arguments) {
        // Mostly none or one, at times a heap of them.
        let count = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3][self.random.below(10)];
        for _ in 0..count {
            let (name, value) = options[self.random.below(options.len())];
            arguments.push(self.spelled(name));
            if let Some(&kind) = value {
                self.argument(kind, arguments);
            }
        }
        if self.random.one_in(60) {
            arguments.push(b"BOGUS".to_vec());
        }
    }

    /// Hours ahead, and no two within a minute of each other: or `EXPIRE … GT` would depend on the milliseconds
    /// between two commands. `hundreds` is what makes the unit of a number of hundred seconds.
    fn relative_time(&mut self, odd: &[&str], hundreds: &str) -> Vec<u8> {
        if self.random.one_in(6) {
            return self.random.pick(odd).as_bytes().to_vec();
        }
        self.times_drawn += 1;
        let spread = self.times_drawn * 7_919 % 1_000_003;
        format!("{}{hundreds}", 100 + spread).into_bytes()
    }

    /// The first few of the list are the ordinary ones.
    fn mostly_sane(&mut self, texts: &[&str], sane: usize) -> Vec<u8> {
        let among = if self.random.one_in(3) { texts.len() } else { sane };
        texts[self.random.below(among)].as_bytes().to_vec()
    }

    fn key(&mut self) -> Vec<u8> {
        self.random.pick(KEYS).to_vec()
    }

    fn number(&mut self) -> Vec<u8> {
        if self.random.one_in(2) {
            return (self.random.below(200) as i64 - 100).to_string().into_bytes();
        }
        self.random.pick(NUMBERS).as_bytes().to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => Vec::new(),
            1 | 2 => self.number(),
            3 => self.random.pick(FLOATS).as_bytes().to_vec(),
            // Around the length at which redis changes a string's encoding.
            4 => vec![b'x'; 42 + self.random.below(5)],
            5 => (0..self.random.below(40)).map(|_| self.random.bits() as u8).collect(),
            6 => vec![b'v'; self.random.below(3000)],
            _ => (0..=self.random.below(12)).map(|_| b'a' + self.random.below(6) as u8).collect(),
        }
    }

    /// Makes a command wrong in some way.
    fn spoil(&mut self, arguments: &mut Arguments) {
        let at = self.random.below(arguments.len());
        match self.random.below(5) {
            0 => arguments.truncate(at.max(1)),
            1 => {
                let extra = self.value();
                arguments.push(extra);
            }
            // A random number in the place of a time would let keys expire in the middle of the run.
            2 if at > 0 => arguments[at] = if self.random.one_in(2) { Vec::new() } else { self.key() },
            3 if at > 0 => arguments.insert(at, arguments[at].clone()),
            4 if at > 0 => {
                arguments.remove(at);
            }
            _ => arguments.push(b"BOGUS".to_vec()),
        }
    }

    fn scan_options(&mut self) -> Arguments {
        let mut options = Arguments::new();
        if self.random.one_in(2) {
            options.extend([
                self.spelled("COUNT"),
                self.random.pick(&["1", "5", "100", "10000", "0", "-1", "x"]).into(),
            ]);
        }
        if self.random.one_in(2) {
            options.extend([self.spelled("MATCH"), self.random.pick(PATTERNS).to_vec()]);
        }
        if self.random.one_in(3) {
            options.extend([
                self.spelled("TYPE"),
                self.random.pick(&["string", "list", "STRING", "nosuch"]).into(),
            ]);
        }
        if self.random.one_in(30) {
            options.push(b"BOGUS".to_vec());
        }
        options
    }
}
