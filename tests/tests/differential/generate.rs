//! Random commands. Each row of [`ROWS`] is a command with the kinds of its arguments; around that, arguments are sometimes
//! dropped, doubled, replaced or shuffled, because what is wrong must be answered as Redis answers it.

use annulus_tests::random::Random;

pub(super) type Arguments = Vec<Vec<u8>>;

/// What to do next.
pub(super) enum Step {
    /// Send this.
    Command(Arguments),
    /// Iterate over the whole database with these options.
    FullScan(Arguments),
}

/// What an argument is.
#[derive(Clone, Copy)]
enum Kind {
    Key,
    Value,
    /// A counter's step: small or at the edge of 64 bits.
    Number,
    Float,
    /// An offset into a string: small, or so large that it must be refused.
    Offset,
    /// The place of a bit or a bit field: within a few hundred bytes, or refused.
    BitOffset,
    /// A type of a bit field.
    BitType,
    /// Up to this many values more.
    Values(usize),
    /// One of these lists of arguments.
    Either(&'static [&'static [Kind]]),
    /// Up to this many of these lists of arguments.
    Several(usize, &'static [Kind]),
    /// Seconds or milliseconds from now, far away or in the past.
    Seconds,
    Millis,
    /// A moment, far away or in the past.
    AtSeconds,
    AtMillis,
    Database,
    Pattern,
    /// One of these.
    Word(&'static [&'static str]),
    /// Sometimes one of these options, in any order, with its argument.
    Options(&'static [(&'static str, Option<&'static Kind>)]),
    /// Up to this many keys more.
    Keys(usize),
    /// Up to this many pairs of key and value more.
    Pairs(usize),
}

use Kind::{
    AtMillis, AtSeconds, BitOffset, BitType, Database, Either, Float, Key, Keys, Millis, Number, Offset,
    Options, Pairs, Pattern, Seconds, Several, Value, Values, Word,
};

struct Row {
    weight: usize,
    name: &'static str,
    arguments: &'static [Kind],
}

const fn row(weight: usize, name: &'static str, arguments: &'static [Kind]) -> Row {
    Row { weight, name, arguments }
}

const EXPIRE_OPTIONS: Kind = Options(&[("NX", None), ("XX", None), ("GT", None), ("LT", None)]);

/// What `BITFIELD SET` is given: not less than -2^62, for below that redis's own check of signed fields overflows, and it saturates at
/// the wrong end.
const FIELD_VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "3",
    "-16",
    "127",
    "-128",
    "255",
    "-300",
    "65536",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "-4611686018427387904",
    "x",
    "",
    "1.5",
    "01",
];

const BIT: Kind = Word(&["0", "1", "1", "0", "2", "x"]);
const BIT_UNIT: Kind = Options(&[("BIT", None), ("BYTE", None)]);
const BIT_OPERATIONS: &[&[Kind]] = &[
    &[Word(&["GET"]), BitType, BitOffset],
    &[Word(&["SET"]), BitType, BitOffset, Word(FIELD_VALUES)],
    &[Word(&["INCRBY"]), BitType, BitOffset, Number],
    &[Word(&["OVERFLOW"]), Word(&["WRAP", "SAT", "FAIL", "NEVER"])],
];
/// Keys that hold HyperLogLogs when nothing else has been put there; they would rarely last among the other keys.
const SKETCH: Kind = Word(&["sketch:1", "sketch:2", "sketch:3", "{tag}sketch"]);

/// Keys of collections likewise, by type.
const LIST: Kind = Word(&["list:1", "list:2", "list:3", "{tag}list"]);
/// Few, so that they meet; and at times anything.
const ELEMENT: Kind = Either(&[
    &[Word(&["a", "b", "c", "1", "-1", "300"])],
    &[Word(&["a", "b", "c", "70000", "9223372036854775807", "007"])],
    &[Value],
]);
const SIDE: Kind = Word(&["LEFT", "RIGHT", "LEFT", "RIGHT", "LEFT", "RIGHT", "UP"]);
const ZSET: Kind = Word(&["zset:1", "zset:2", "zset:3", "{tag}zset"]);
/// Keys of sorted sets in which all scores are 0; what their commands do with other ones is not specified.
const LEX_SET: Kind = Word(&["lex:1", "lex:2", "{tag}lex"]);
const SCORED: Kind = Either(&[
    &[Word(&["a", "b", "c", "d", "e", "f", "g", "h"])],
    &[Word(&["aa", "ab", "bcd", "", "1", "20", "-3", "007"])],
    &[Word(&["a", "b", "c"])],
    &[Value],
]);
const SCORE: Kind = Either(&[
    &[Word(&["0", "1", "2", "3", "-1", "1.5", "100", "-0.25"])],
    &[Word(&["0", "1", "2", "3", "-1", "1.5", "100", "-0.25"])],
    &[Float],
]);
const SCORE_BOUND: Kind = Either(&[
    &[Word(&["-inf", "+inf", "0", "1", "2", "3", "-1", "1.5"])],
    &[Word(&["(0", "(1", "(2", "(3", "(-1", "(1.5", "-inf", "+inf"])],
    &[Word(&["(", "((1", " 1", "1 ", "( 2", "nan", "(inf", "x", ""])],
    &[Float],
]);
const MEMBER_BOUND: Kind = Either(&[
    &[Word(&["-", "+", "[a", "(a", "[b", "(c", "[d", "(e", "[aa", "(bcd"])],
    &[Word(&["-", "+", "[", "(", "[zz", "(1"])],
    &[Word(&["a", "", "-x", "+x", "[a", "-", "+"])],
]);
const LIMIT: Kind = Either(&[
    &[],
    &[],
    &[Word(&["LIMIT"]), Word(&["0", "1", "2"]), Word(&["1", "2", "10", "-1"])],
    &[Word(&["LIMIT"]), Offset, Offset],
]);
const SCORES: Kind = Options(&[("WITHSCORES", None)]);
const ADD_OPTIONS: Kind =
    Either(&[&[], &[], &[Options(&[("NX", None), ("XX", None), ("GT", None), ("LT", None), ("CH", None)])]]);
const SOURCES: Kind = Either(&[
    &[Word(&["1"]), ZSET],
    &[Word(&["2"]), ZSET, ZSET],
    &[Word(&["2"]), ZSET, ZSET],
    &[Word(&["3"]), ZSET, ZSET, ZSET],
    &[Word(&["2", "0", "-1", "x", "4", "1"]), ZSET, Key],
]);
const WEIGHTED: Kind = Either(&[
    &[],
    &[],
    &[Word(&["WEIGHTS"]), SCORE, SCORE],
    &[Word(&["AGGREGATE"]), Word(&["SUM", "MIN", "MAX", "AVG"])],
    &[Word(&["WEIGHTS"]), SCORE, SCORE, Word(&["AGGREGATE"]), Word(&["SUM", "MIN", "MAX"])],
]);
const HOW_MANY: Kind = Either(&[&[Word(&["1", "2", "3"])], &[Word(&["1", "2", "10"])], &[Offset]]);

const STREAM: Kind = Word(&["stream:1", "stream:2", "{tag}stream"]);
const GROUP: Kind = Word(&["g", "g", "g", "h", "nosuch"]);
const CONSUMER: Kind = Word(&["alice", "bob", "carol"]);
/// Ids that meet; new ones are most often above those that are there.
const ID: Kind = Either(&[
    &[Word(&["1-1", "2-1", "3-1", "4-2", "5-1", "9-3", "0-0", "4", "x", "7-7-7"])],
    &[Word(&["1-2", "2-2", "3-2", "6-1", "8-1", "100-1", "0", "-", "+", "18446744073709551615-1"])],
]);
const NEW_ID: Kind = Either(&[
    &[Word(&["1-*", "2-*", "3-*", "4-*", "5-*", "6-*", "7-*", "8-*", "9-*", "0-*"])],
    &[Word(&["9-*", "9-*", "8-*", "10-*"])],
    &[ID],
]);
const PLACE: Kind = Either(&[&[Word(&["-", "+", "-", "+", "(1-1", "(4-2", "(", "(0-0"])], &[ID]]);
const COUNT: Kind = Options(&[("COUNT", Some(&HOW_MANY))]);
const TRIM: Kind = Either(&[
    &[Word(&["MAXLEN"]), HOW_MANY],
    &[Word(&["MAXLEN"]), Word(&["="]), HOW_MANY],
    &[Word(&["MINID"]), ID],
    &[Word(&["MINID"]), Word(&["="]), ID],
    &[Word(&["MAXLEN", "MINID"]), Word(&["="]), ID, Word(&["LIMIT"]), HOW_MANY],
]);
/// A stream that is trimmed about: whole nodes go, so both servers must put the same entries into one. They do where a hundred
/// are far from filling it, and none has been deleted: redis leaves its bytes there.
const TRIMMED: Kind = Word(&["trimmed"]);
const TRIM_ABOUT: Kind = Either(&[
    &[Word(&["MAXLEN"]), Word(&["~"]), Word(&["0", "1", "90", "100", "150", "x", "-1"])],
    &[Word(&["MINID"]), Word(&["~"]), ID],
    &[Word(&["MAXLEN", "MINID"]), Word(&["~"]), HOW_MANY, Word(&["LIMIT"]), HOW_MANY],
]);
const FIELD: &[Kind] = &[Word(&["a", "b", "field", "7"]), ELEMENT];
const HASH: Kind = Word(&["hash:1", "hash:2", "hash:3", "{tag}hash"]);
const HASH_FIELD: Kind = Either(&[&[Word(&["f", "g", "1", "n"])], &[Word(&["f", "g", "h", "i"])], &[Value]]);
const SET: Kind = Word(&["set:1", "set:2", "set:3", "{tag}set"]);
/// Sets of integers are in order on both sides; the others are compared without it.
const MEMBER: Kind = Either(&[
    &[Word(&["1", "2", "3", "4", "5", "6"])],
    &[Word(&["1", "2", "3", "-7", "70000", "9223372036854775807"])],
    &[ELEMENT],
]);

const FUNCTION: Kind = Word(&["put", "get", "GET", "swap", "nosuch"]);
/// Libraries of one function each, whose names may clash.
const LIBRARY: Kind = Word(&[
    "#!lua name=one\nredis.register_function('put', function(k, a) return redis.call('set', k[1], a[1]) end)",
    "#!lua name=two\nredis.register_function{function_name='get', callback=function(k) return redis.call('get', k[1]) end, flags={'no-writes'}}",
    "#!lua name=three\nredis.register_function('put', function(k, a) return redis.call('append', k[1], a[1]) end)",
    "#!lua name=one\nredis.register_function('swap', function(k, a) return redis.call('getset', 'key:1', redis.call('getset', k[1], a[1])) end)",
    "#!lua name=two\nreturn 1",
    "return 1",
]);

/// Scripts of one key and one argument.
const SCRIPTS: Kind = Word(&[
    "return redis.call('get', KEYS[1])",
    "return redis.pcall('incr', KEYS[1])",
    "return redis.call('incrby', KEYS[1], ARGV[1])",
    "redis.call('append', KEYS[1], ARGV[1]) return redis.call('strlen', KEYS[1])",
    "local old = redis.call('getset', KEYS[1], ARGV[1]) return {old, redis.call('get', KEYS[1])}",
    "return redis.call('mset', KEYS[1], ARGV[1], 'key:1', ARGV[1], 'key:2', KEYS[1])",
    "local t = redis.call('mget', 'key:1', KEYS[1], 'key:2', 'key:3') return {#t, t}",
    "redis.call('set', 'key:3', ARGV[1]) return redis.call('rename', KEYS[1], 'key:2')",
    "return {redis.call('del', KEYS[1], 'key:1'), redis.call('exists', KEYS[1], 'key:2', 'key:3')}",
    "return {redis.pcall('type', KEYS[1]), redis.call('ttl', KEYS[1]) < 0, KEYS, ARGV}",
    "return {tonumber(ARGV[1]), tostring(tonumber(ARGV[1])), #ARGV[1]}",
    "return cjson.encode({KEYS[1], tonumber(ARGV[1]) or 'none', ARGV[1]})",
    "return {pcall(cjson.decode, ARGV[1] or '')}",
    "return cmsgpack.pack(ARGV[1], tonumber(ARGV[1]), {KEYS[1]})",
    "return {pcall(cmsgpack.unpack, ARGV[1] or '')}",
    "return {string.find(ARGV[1], '%d+'), string.gsub(ARGV[1], '%D', '.')}",
    "redis.setresp(3) return {redis.call('get', KEYS[1]), true, {double = tonumber(ARGV[1]) or 1}}",
    "redis.call('set', KEYS[1], ARGV[1]) error('half way')",
    "redis.call('select', 1) return redis.call('set', KEYS[1], ARGV[1])",
]);

const ROWS: &[Row] = &[
    row(20, "EVAL", &[SCRIPTS, Word(&["1"]), Key, Value]),
    row(5, "EVAL", &[SCRIPTS, Word(&["1"]), Key, Number]),
    row(5, "EVAL_RO", &[SCRIPTS, Word(&["1"]), Key, Value]),
    row(1, "EVAL", &[SCRIPTS, Number, Key, Value]),
    row(1, "FCALL", &[FUNCTION, Word(&["1"]), Key, Value]),
    row(1, "FCALL_RO", &[FUNCTION, Word(&["1", "1", "0"]), Key, Value]),
    row(1, "FUNCTION", &[Word(&["LOAD"]), LIBRARY]),
    row(1, "FUNCTION", &[Word(&["LOAD"]), Word(&["REPLACE"]), LIBRARY]),
    row(1, "FUNCTION", &[Word(&["DELETE"]), Word(&["one", "two", "three"])]),
    row(1, "FUNCTION", &[Word(&["STATS", "FLUSH", "KILL"])]),
    row(1, "SCRIPT", &[Word(&["EXISTS", "LOAD", "FLUSH", "KILL"]), Word(&["0", "return 1", "NO"])]),
    row(
        30,
        "SET",
        &[
            Key,
            Value,
            Options(&[
                ("NX", None),
                ("XX", None),
                ("GET", None),
                ("KEEPTTL", None),
                ("EX", Some(&Seconds)),
                ("PX", Some(&Millis)),
                ("EXAT", Some(&AtSeconds)),
                ("PXAT", Some(&AtMillis)),
            ]),
        ],
    ),
    row(20, "SET", &[Key, Value]),
    row(8, "SET", &[Key, Number]),
    row(20, "GET", &[Key]),
    row(
        8,
        "GETEX",
        &[
            Key,
            Options(&[
                ("PERSIST", None),
                ("EX", Some(&Seconds)),
                ("PX", Some(&Millis)),
                ("EXAT", Some(&AtSeconds)),
                ("PXAT", Some(&AtMillis)),
            ]),
        ],
    ),
    row(5, "GETDEL", &[Key]),
    row(5, "GETSET", &[Key, Value]),
    row(6, "GETRANGE", &[Key, Number, Number]),
    row(6, "GETRANGE", &[Key, Offset, Offset]),
    row(2, "SUBSTR", &[Key, Offset, Offset]),
    row(8, "SETRANGE", &[Key, Offset, Value]),
    row(10, "APPEND", &[Key, Value]),
    row(6, "STRLEN", &[Key]),
    row(8, "INCR", &[Key]),
    row(8, "DECR", &[Key]),
    row(8, "INCRBY", &[Key, Number]),
    row(8, "DECRBY", &[Key, Number]),
    row(8, "INCRBYFLOAT", &[Key, Float]),
    row(8, "MGET", &[Key, Keys(6)]),
    row(8, "MSET", &[Key, Value, Pairs(5)]),
    row(5, "MSETNX", &[Key, Value, Pairs(2)]),
    row(5, "SETNX", &[Key, Value]),
    row(4, "SETEX", &[Key, Seconds, Value]),
    row(4, "PSETEX", &[Key, Millis, Value]),
    row(
        6,
        "LCS",
        &[
            Key,
            Key,
            Options(&[("LEN", None), ("IDX", None), ("MINMATCHLEN", Some(&Offset)), ("WITHMATCHLEN", None)]),
        ],
    ),
    row(12, "SETBIT", &[Key, BitOffset, Word(&["0", "1", "1", "2"])]),
    row(5, "GETBIT", &[Key, BitOffset]),
    row(4, "BITCOUNT", &[Key]),
    row(6, "BITCOUNT", &[Key, Offset, Offset, BIT_UNIT]),
    row(4, "BITPOS", &[Key, BIT]),
    row(3, "BITPOS", &[Key, BIT, Offset]),
    row(6, "BITPOS", &[Key, BIT, Offset, Offset, BIT_UNIT]),
    row(10, "BITOP", &[Word(&["AND", "OR", "XOR", "NOT"]), Key, Key, Keys(3)]),
    row(12, "BITFIELD", &[Key, Several(4, &[Either(BIT_OPERATIONS)])]),
    row(5, "BITFIELD_RO", &[Key, Several(3, &[Word(&["GET"]), BitType, BitOffset])]),
    row(20, "PFADD", &[SKETCH, Values(30)]),
    row(2, "PFADD", &[Key, Values(3)]),
    row(6, "PFCOUNT", &[SKETCH, Several(3, &[SKETCH])]),
    row(1, "PFCOUNT", &[Key, Keys(3)]),
    row(6, "PFMERGE", &[SKETCH, Several(3, &[SKETCH])]),
    row(1, "PFMERGE", &[Key, Keys(3)]),
    row(4, "PFDEBUG", &[Word(&["ENCODING", "DECODE", "TODENSE", "NOSUCH"]), SKETCH]),
    row(20, "LPUSH", &[LIST, ELEMENT, Several(6, &[ELEMENT])]),
    row(20, "RPUSH", &[LIST, ELEMENT, Several(6, &[ELEMENT])]),
    row(1, "RPUSH", &[Key, ELEMENT]),
    row(4, "LPUSHX", &[LIST, ELEMENT, Several(2, &[ELEMENT])]),
    row(4, "RPUSHX", &[LIST, ELEMENT, Several(2, &[ELEMENT])]),
    row(4, "LPOP", &[LIST]),
    row(3, "LPOP", &[LIST, HOW_MANY]),
    row(4, "RPOP", &[LIST]),
    row(3, "RPOP", &[LIST, HOW_MANY]),
    row(4, "LLEN", &[LIST]),
    row(1, "LLEN", &[Key]),
    row(6, "LINDEX", &[LIST, Offset]),
    row(6, "LSET", &[LIST, Offset, ELEMENT]),
    row(8, "LINSERT", &[LIST, Word(&["BEFORE", "AFTER", "BEFORE", "AFTER", "NEAR"]), ELEMENT, ELEMENT]),
    row(6, "LREM", &[LIST, Offset, ELEMENT]),
    row(10, "LRANGE", &[LIST, Offset, Offset]),
    row(3, "LTRIM", &[LIST, Offset, Offset]),
    row(
        8,
        "LPOS",
        &[
            LIST,
            ELEMENT,
            Options(&[("RANK", Some(&Offset)), ("COUNT", Some(&Offset)), ("MAXLEN", Some(&Offset))]),
        ],
    ),
    row(8, "LMOVE", &[LIST, LIST, SIDE, SIDE]),
    row(5, "RPOPLPUSH", &[LIST, LIST]),
    row(1, "RPOPLPUSH", &[Key, LIST]),
    row(3, "LMPOP", &[Word(&["1"]), LIST, SIDE, Options(&[("COUNT", Some(&HOW_MANY))])]),
    row(
        6,
        "LMPOP",
        &[Word(&["2", "2", "2", "1", "0", "3"]), LIST, LIST, SIDE, Options(&[("COUNT", Some(&HOW_MANY))])],
    ),
    row(3, "RENAME", &[LIST, LIST]),
    row(3, "COPY", &[LIST, LIST, Options(&[("REPLACE", None), ("DB", Some(&Database))])]),
    row(1, "COPY", &[LIST, Key, Options(&[("REPLACE", None)])]),
    row(1, "MOVE", &[LIST, Database]),
    row(2, "EXPIRE", &[LIST, Seconds]),
    row(2, "OBJECT", &[Word(&["ENCODING", "REFCOUNT"]), LIST]),
    row(30, "XADD", &[STREAM, NEW_ID, Several(3, FIELD), Word(&["a", "b"]), ELEMENT]),
    row(6, "XADD", &[STREAM, TRIM, NEW_ID, Word(&["a", "b"]), ELEMENT]),
    row(2, "XADD", &[STREAM, Word(&["NOMKSTREAM"]), NEW_ID, Several(2, FIELD)]),
    row(1, "XADD", &[Key, NEW_ID, Several(2, FIELD)]),
    row(3, "XLEN", &[STREAM]),
    row(8, "XRANGE", &[STREAM, PLACE, PLACE, COUNT]),
    row(6, "XRANGE", &[STREAM, Word(&["-"]), Word(&["+"])]),
    row(8, "XREVRANGE", &[STREAM, PLACE, PLACE, COUNT]),
    row(6, "XREAD", &[COUNT, Word(&["STREAMS"]), STREAM, ID]),
    row(6, "XREAD", &[COUNT, Word(&["STREAMS"]), STREAM, STREAM, ID, Either(&[&[ID], &[Word(&["$"])]])]),
    row(6, "XDEL", &[STREAM, ID, Several(2, &[ID])]),
    row(3, "XTRIM", &[STREAM, TRIM]),
    row(
        20,
        "XADD",
        &[TRIMMED, Word(&["1-*", "1-*", "1-*", "*-1", "x"]), Word(&["a", "b"]), Word(&["a", "1", "x"])],
    ),
    row(3, "XADD", &[TRIMMED, TRIM_ABOUT, Word(&["1-*"]), Word(&["a", "b"]), Word(&["a", "1", "x"])]),
    row(2, "XTRIM", &[TRIMMED, TRIM_ABOUT]),
    row(1, "XLEN", &[TRIMMED]),
    row(1, "XRANGE", &[TRIMMED, Word(&["-"]), Word(&["+"]), COUNT]),
    row(2, "XSETID", &[STREAM, ID]),
    row(1, "XSETID", &[STREAM, ID, Word(&["ENTRIESADDED"]), HOW_MANY, Word(&["MAXDELETEDID"]), ID]),
    row(
        8,
        "XGROUP",
        &[Word(&["CREATE"]), STREAM, GROUP, Either(&[&[ID], &[Word(&["$", "0"])]]), Word(&["MKSTREAM"])],
    ),
    row(
        3,
        "XGROUP",
        &[Word(&["CREATE", "SETID"]), STREAM, GROUP, ID, Options(&[("ENTRIESREAD", Some(&HOW_MANY))])],
    ),
    row(2, "XGROUP", &[Word(&["CREATECONSUMER", "DELCONSUMER"]), STREAM, GROUP, CONSUMER]),
    row(1, "XGROUP", &[Word(&["DESTROY"]), STREAM, GROUP]),
    row(
        12,
        "XREADGROUP",
        &[
            Word(&["GROUP"]),
            GROUP,
            CONSUMER,
            COUNT,
            Options(&[("NOACK", None)]),
            Word(&["STREAMS"]),
            STREAM,
            Word(&[">"]),
        ],
    ),
    row(
        6,
        "XREADGROUP",
        &[
            Word(&["GROUP"]),
            GROUP,
            CONSUMER,
            COUNT,
            Word(&["STREAMS"]),
            STREAM,
            STREAM,
            Word(&[">"]),
            Either(&[&[ID], &[Word(&[">", "$"])]]),
        ],
    ),
    row(6, "XACK", &[STREAM, GROUP, ID, Several(2, &[ID])]),
    row(6, "XPENDING", &[STREAM, GROUP]),
    row(
        5,
        "XCLAIM",
        &[
            STREAM,
            GROUP,
            CONSUMER,
            Word(&["0", "0", "100000", "x"]),
            ID,
            Several(2, &[ID]),
            Options(&[
                ("FORCE", None),
                ("JUSTID", None),
                ("RETRYCOUNT", Some(&HOW_MANY)),
                ("LASTID", Some(&ID)),
            ]),
        ],
    ),
    row(
        5,
        "XAUTOCLAIM",
        &[
            STREAM,
            GROUP,
            CONSUMER,
            Word(&["0", "0", "100000", "x"]),
            PLACE,
            COUNT,
            Options(&[("JUSTID", None)]),
        ],
    ),
    row(6, "XINFO", &[Word(&["GROUPS"]), STREAM]),
    row(2, "COPY", &[STREAM, STREAM, Options(&[("REPLACE", None)])]),
    row(2, "RENAME", &[STREAM, STREAM]),
    row(1, "DEL", &[STREAM]),
    row(2, "OBJECT", &[Word(&["ENCODING"]), STREAM]),
    // By themselves, and stored: then the order is of bytes, and equal ones are alike.
    row(
        6,
        "SORT",
        &[
            LIST,
            Word(&["ALPHA"]),
            Options(&[("DESC", None), ("GET", Some(&Pattern))]),
            Word(&["STORE"]),
            LIST,
        ],
    ),
    row(
        2,
        "RESTORE",
        &[Key, Word(&["0", "0", "100000", "-1"]), Value, Options(&[("REPLACE", None), ("ABSTTL", None)])],
    ),
    row(25, "HSET", &[HASH, HASH_FIELD, ELEMENT, Several(5, &[HASH_FIELD, ELEMENT])]),
    row(1, "HSET", &[Key, HASH_FIELD, ELEMENT]),
    row(4, "HMSET", &[HASH, HASH_FIELD, Value, Several(2, &[HASH_FIELD, Value])]),
    row(5, "HSETNX", &[HASH, HASH_FIELD, ELEMENT]),
    row(8, "HGET", &[HASH, HASH_FIELD]),
    row(1, "HGET", &[Key, HASH_FIELD]),
    row(5, "HMGET", &[HASH, HASH_FIELD, Several(4, &[HASH_FIELD])]),
    row(8, "HGETALL", &[HASH]),
    row(3, "HKEYS", &[HASH]),
    row(3, "HVALS", &[HASH]),
    row(4, "HLEN", &[HASH]),
    row(4, "HEXISTS", &[HASH, HASH_FIELD]),
    row(4, "HSTRLEN", &[HASH, HASH_FIELD]),
    row(8, "HDEL", &[HASH, HASH_FIELD, Several(3, &[HASH_FIELD])]),
    row(8, "HINCRBY", &[HASH, HASH_FIELD, Number]),
    row(6, "HINCRBYFLOAT", &[HASH, HASH_FIELD, Float]),
    row(
        3,
        "HRANDFIELD",
        &[HASH, Word(&["1000000", "0", "x", "9223372036854775807", ""]), Options(&[("WITHVALUES", None)])],
    ),
    row(
        4,
        "HSCAN",
        &[
            HASH,
            Word(&["0", "0", "x"]),
            Options(&[("MATCH", Some(&Pattern)), ("COUNT", Some(&Word(&["100", "0", "x"])))]),
        ],
    ),
    row(1, "RENAME", &[HASH, HASH]),
    row(2, "COPY", &[HASH, HASH, Options(&[("REPLACE", None), ("DB", Some(&Database))])]),
    row(25, "SADD", &[SET, MEMBER, Several(6, &[MEMBER])]),
    row(1, "SADD", &[Key, MEMBER]),
    row(8, "SREM", &[SET, MEMBER, Several(3, &[MEMBER])]),
    row(5, "SISMEMBER", &[SET, MEMBER]),
    row(4, "SMISMEMBER", &[SET, MEMBER, Several(3, &[MEMBER])]),
    row(6, "SMEMBERS", &[SET]),
    row(4, "SCARD", &[SET]),
    row(1, "SCARD", &[Key]),
    row(2, "SPOP", &[SET, Word(&["1000000", "0", "-1", "x", "9223372036854775807"])]),
    row(3, "SRANDMEMBER", &[SET, Word(&["1000000", "0", "x", "9223372036854775807", ""])]),
    row(8, "SMOVE", &[SET, SET, MEMBER]),
    row(1, "SMOVE", &[SET, Key, MEMBER]),
    row(
        4,
        "SSCAN",
        &[
            SET,
            Word(&["0", "0", "x"]),
            Options(&[("MATCH", Some(&Pattern)), ("COUNT", Some(&Word(&["100", "0", "x"])))]),
        ],
    ),
    row(6, "SINTER", &[SET, Several(3, &[SET])]),
    row(6, "SUNION", &[SET, Several(3, &[SET])]),
    row(6, "SDIFF", &[SET, Several(3, &[SET])]),
    row(1, "SUNION", &[SET, Key]),
    row(
        6,
        "SINTERCARD",
        &[Word(&["2", "2", "1", "0", "3", "x"]), SET, SET, Options(&[("LIMIT", Some(&Offset))])],
    ),
    row(5, "SINTERSTORE", &[SET, SET, Several(2, &[SET])]),
    row(5, "SUNIONSTORE", &[SET, SET, Several(2, &[SET])]),
    row(5, "SDIFFSTORE", &[SET, SET, Several(2, &[SET])]),
    row(1, "SUNIONSTORE", &[LIST, SET, SET]),
    row(1, "RENAME", &[SET, SET]),
    row(2, "COPY", &[SET, SET, Options(&[("REPLACE", None), ("DB", Some(&Database))])]),
    row(2, "OBJECT", &[Word(&["ENCODING"]), Either(&[&[HASH], &[SET]])]),
    row(3, "EXPIRE", &[Either(&[&[HASH], &[SET]]), Seconds]),
    row(2, "DEL", &[Either(&[&[HASH], &[SET], &[LIST]])]),
    row(30, "ZADD", &[ZSET, ADD_OPTIONS, SCORE, SCORED, Several(6, &[SCORE, SCORED])]),
    row(4, "ZADD", &[ZSET, ADD_OPTIONS, Word(&["INCR"]), SCORE, SCORED]),
    row(1, "ZADD", &[Key, SCORE, SCORED]),
    row(12, "ZADD", &[LEX_SET, Word(&["0"]), SCORED, Several(6, &[Word(&["0"]), SCORED])]),
    row(6, "ZINCRBY", &[ZSET, SCORE, SCORED]),
    row(4, "ZSCORE", &[ZSET, SCORED]),
    row(3, "ZMSCORE", &[ZSET, SCORED, Several(3, &[SCORED])]),
    row(3, "ZCARD", &[ZSET]),
    row(1, "ZCARD", &[Key]),
    row(5, "ZCOUNT", &[ZSET, SCORE_BOUND, SCORE_BOUND]),
    row(5, "ZLEXCOUNT", &[LEX_SET, MEMBER_BOUND, MEMBER_BOUND]),
    row(4, "ZRANK", &[ZSET, SCORED]),
    row(4, "ZREVRANK", &[ZSET, SCORED]),
    row(6, "ZRANGE", &[ZSET, Offset, Offset, Options(&[("WITHSCORES", None), ("REV", None)])]),
    row(
        6,
        "ZRANGE",
        &[ZSET, SCORE_BOUND, SCORE_BOUND, Word(&["BYSCORE"]), Options(&[("REV", None)]), LIMIT, SCORES],
    ),
    row(
        4,
        "ZRANGE",
        &[LEX_SET, MEMBER_BOUND, MEMBER_BOUND, Word(&["BYLEX"]), Options(&[("REV", None)]), LIMIT],
    ),
    row(3, "ZRANGESTORE", &[ZSET, ZSET, Offset, Offset, Options(&[("REV", None)])]),
    row(
        3,
        "ZRANGESTORE",
        &[ZSET, ZSET, SCORE_BOUND, SCORE_BOUND, Word(&["BYSCORE"]), Options(&[("REV", None)]), LIMIT],
    ),
    row(4, "ZRANGEBYSCORE", &[ZSET, SCORE_BOUND, SCORE_BOUND, SCORES, LIMIT]),
    row(4, "ZREVRANGEBYSCORE", &[ZSET, SCORE_BOUND, SCORE_BOUND, SCORES, LIMIT]),
    row(4, "ZRANGEBYLEX", &[LEX_SET, MEMBER_BOUND, MEMBER_BOUND, LIMIT]),
    row(4, "ZREVRANGEBYLEX", &[LEX_SET, MEMBER_BOUND, MEMBER_BOUND, LIMIT]),
    row(4, "ZREVRANGE", &[ZSET, Offset, Offset, SCORES]),
    row(6, "ZREM", &[ZSET, SCORED, Several(3, &[SCORED])]),
    row(2, "ZREMRANGEBYRANK", &[ZSET, Offset, Offset]),
    row(2, "ZREMRANGEBYSCORE", &[ZSET, SCORE_BOUND, SCORE_BOUND]),
    row(2, "ZREMRANGEBYLEX", &[LEX_SET, MEMBER_BOUND, MEMBER_BOUND]),
    row(4, "ZPOPMIN", &[ZSET]),
    row(2, "ZPOPMIN", &[ZSET, HOW_MANY]),
    row(4, "ZPOPMAX", &[ZSET]),
    row(2, "ZPOPMAX", &[ZSET, HOW_MANY]),
    row(
        4,
        "ZMPOP",
        &[
            Word(&["2", "2", "2", "1", "0", "3"]),
            ZSET,
            ZSET,
            Word(&["MIN", "MAX", "MIN", "MAX", "MID"]),
            Options(&[("COUNT", Some(&HOW_MANY))]),
        ],
    ),
    row(2, "ZRANDMEMBER", &[ZSET]),
    row(3, "ZRANDMEMBER", &[ZSET, Word(&["0", "1", "3", "-5", "100", "x", "-9223372036854775808"]), SCORES]),
    row(
        3,
        "ZSCAN",
        &[
            ZSET,
            Word(&["0", "0", "0", "x"]),
            Options(&[("MATCH", Some(&Pattern)), ("COUNT", Some(&HOW_MANY))]),
        ],
    ),
    row(4, "ZUNION", &[SOURCES, WEIGHTED, SCORES]),
    row(4, "ZINTER", &[SOURCES, WEIGHTED, SCORES]),
    row(3, "ZDIFF", &[SOURCES, SCORES]),
    row(4, "ZUNIONSTORE", &[ZSET, SOURCES, WEIGHTED]),
    row(4, "ZINTERSTORE", &[ZSET, SOURCES, WEIGHTED]),
    row(3, "ZDIFFSTORE", &[ZSET, SOURCES]),
    row(3, "ZINTERCARD", &[SOURCES, Options(&[("LIMIT", Some(&Offset))])]),
    row(2, "RENAME", &[ZSET, ZSET]),
    row(2, "COPY", &[ZSET, ZSET, Options(&[("REPLACE", None), ("DB", Some(&Database))])]),
    row(1, "MOVE", &[ZSET, Database]),
    row(1, "EXPIRE", &[ZSET, Seconds]),
    row(1, "DEL", &[ZSET]),
    row(2, "OBJECT", &[Word(&["ENCODING", "REFCOUNT"]), ZSET]),
    row(6, "DEL", &[Key, Keys(3)]),
    row(4, "UNLINK", &[Key, Keys(3)]),
    row(6, "EXISTS", &[Key, Keys(4)]),
    row(4, "TOUCH", &[Key, Keys(4)]),
    row(5, "TYPE", &[Key]),
    row(6, "EXPIRE", &[Key, Seconds, EXPIRE_OPTIONS]),
    row(6, "PEXPIRE", &[Key, Millis, EXPIRE_OPTIONS]),
    row(6, "EXPIREAT", &[Key, AtSeconds, EXPIRE_OPTIONS]),
    row(6, "PEXPIREAT", &[Key, AtMillis, EXPIRE_OPTIONS]),
    row(6, "TTL", &[Key]),
    row(6, "PTTL", &[Key]),
    row(5, "EXPIRETIME", &[Key]),
    row(5, "PEXPIRETIME", &[Key]),
    row(5, "PERSIST", &[Key]),
    row(8, "RENAME", &[Key, Key]),
    row(6, "RENAMENX", &[Key, Key]),
    row(8, "COPY", &[Key, Key, Options(&[("REPLACE", None), ("DB", Some(&Database))])]),
    row(5, "MOVE", &[Key, Database]),
    row(4, "KEYS", &[Pattern]),
    row(4, "RANDOMKEY", &[]),
    row(6, "DBSIZE", &[]),
    row(1, "FLUSHDB", &[Options(&[("ASYNC", None), ("SYNC", None)])]),
    row(1, "FLUSHALL", &[Options(&[("ASYNC", None), ("SYNC", None)])]),
    row(2, "SWAPDB", &[Database, Database]),
    row(6, "OBJECT", &[Word(&["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"]), Key]),
    row(8, "SELECT", &[Database]),
    row(3, "PING", &[]),
    row(2, "PING", &[Value]),
    row(2, "ECHO", &[Value]),
    row(1, "RESET", &[]),
    row(1, "AUTH", &[Value]),
    row(1, "AUTH", &[Word(&["default", "nobody"]), Value]),
    row(2, "CLIENT", &[Word(&["SETNAME"]), Word(&["name", "", "with blank", "x\n", "other-name"])]),
    row(2, "CLIENT", &[Word(&["GETNAME", "ID"])]),
    row(1, "CLIENT", &[Word(&["NO-EVICT"]), Word(&["on", "off", "x"])]),
    row(1, "CLIENT", &[Word(&["KILL"]), Word(&["ID", "ADDR", "LADDR", "TYPE", "USER", "SKIPME"]), Value]),
    row(1, "TIME", &[]),
    row(1, "LASTSAVE", &[]),
    row(1, "COMMAND", &[Word(&["GETKEYS"]), Word(&["GET", "MSET", "RENAME", "LCS", "PING"]), Key, Value]),
    row(
        1,
        "CONFIG",
        &[Word(&["GET"]), Word(&["maxclients", "databases", "nosuch", "tcp-keepalive", "timeout"])],
    ),
    row(1, "NOSUCH", &[Key, Value]),
    row(1, "", &[Key]),
];

/// Few, so that commands meet; several slots and so several shards; one hash tag; an empty and a binary one.
pub(super) const KEYS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"key:1",
    b"key:2",
    b"key:3",
    b"{tag}1",
    b"{tag}2",
    b"",
    b"\0\xff\r\n",
    b"counter",
    b"float",
    b"a-key-that-is-much-longer-than-the-others-and-than-what-small-layouts-are-made-for-0123456789",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "-10",
    "127",
    "-128",
    "255",
    "9999",
    "10000",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "99999999999999999999999",
    "01",
    "+1",
    " 1",
    "1 ",
    "-0",
    "--1",
    "1.0",
    "1e3",
    "0x10",
    "",
    "x",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "-0.3",
    "1.5",
    "3.0",
    "5.0e3",
    "1e-5",
    "1e17",
    "-1e17",
    "0.00000000000000001",
    "1e308",
    "-1e308",
    "1e400",
    "123456789.123456789",
    "0.30000000000000004",
    "inf",
    "-inf",
    "nan",
    "infinity",
    "+1",
    " 1",
    "1 ",
    "1e",
    ".5",
    "5.",
    "0x10",
    "",
    "x",
    "1,5",
    "9007199254740993",
    "3.14159265358979323846",
];

const BIT_OFFSETS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "15",
    "16",
    "63",
    "64",
    "100",
    "353",
    "1000",
    "#0",
    "#1",
    "#2",
    "#7",
    "#40",
    "-1",
    "#-1",
    "4294967296",
    "9223372036854775807",
    "#9223372036854775807",
    "x",
    "#",
    "",
    "1.5",
];

const BIT_TYPES: &[&str] = &[
    "u1", "i1", "u4", "u8", "i8", "i5", "u16", "u31", "i32", "u63", "i63", "i64", "u64", "i65", "u0", "x8",
    "",
];

const OFFSETS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "43",
    "44",
    "45",
    "100",
    "1000",
    "-1",
    "-2",
    "-5",
    "-100",
    "536870912",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "1.5",
    "",
];

/// Instead of a time that means something.
const SECONDS: &[&str] = &[
    "0",
    "-1",
    "-1000",
    "9223372036854775",
    "9223372036854776",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
    "1.5",
    "4294967296",
];

const MILLIS: &[&str] = &[
    "0",
    "-1",
    "-1000",
    "9223372036854775807",
    "9223372036854775000",
    "9223370000000000000",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
    "1.5",
];

const AT_SECONDS: &[&str] = &[
    "33177117420",
    "33177117421",
    "4000000000",
    "0",
    "-1",
    "1",
    "1500000000",
    "9223372036854775",
    "9223372036854776",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "",
];

const AT_MILLIS: &[&str] = &[
    "33177117420000",
    "33177117420001",
    "4000000000999",
    "0",
    "-1",
    "1",
    "1500000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
];

const DATABASES: &[&str] = &[
    "0",
    "0",
    "0",
    "0",
    "0",
    "0",
    "1",
    "1",
    "2",
    "15",
    "16",
    "-1",
    "x",
    "",
    "2147483648",
    "9223372036854775808",
    "01",
];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"*",
    b"?",
    b"key:*",
    b"key:?",
    b"{tag}*",
    b"[a-c]",
    b"[^a-c]",
    b"[c-a]",
    b"\\a",
    b"[\\a]",
    b"[a",
    b"a*b*c",
    b"*:*",
    b"**",
    b"[]",
    b"[^]",
    b"",
    b"*\\",
    b"\0*",
    b"?*?",
    b"[a-]",
    b"c*t*r",
    b"*0123456789",
];

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
