//! The commands, each with the kinds of its arguments and how often it is sent.

/// What an argument is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
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

pub(super) struct Row {
    pub(super) weight: usize,
    pub(super) name: &'static str,
    pub(super) arguments: &'static [Kind],
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

pub(super) const ROWS: &[Row] = &[
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
