//! What COMMAND says of our commands is what redis-server says of its own: arity, flags, key positions, ACL categories, key
//! specifications. Clients route, retry and pipeline by it.

use std::collections::{BTreeMap, BTreeSet};

use annulus_tests::{
    resp::{Connection, Value},
    server::Setup,
};

/// Everything that a client may rely on; a missing one is a missing feature.
const EXPECTED: &str = "backup cl.throttle delex digest increx msetex set get getex getdel getset getrange substr setrange append strlen incr decr incrby decrby \
    incrbyfloat mget mset msetnx setnx setex psetex lcs \
    setbit getbit bitcount bitpos bitop bitfield bitfield_ro pfadd pfcount pfmerge pfdebug pfselftest \
    lpush rpush lpushx rpushx lpop rpop llen lindex lset linsert lrem lrange ltrim lpos lmove rpoplpush lmpop \
    hset hsetnx hmset hget hmget hgetall hkeys hvals hlen hexists hdel hincrby hincrbyfloat hstrlen hrandfield hscan \
    hexpire hpexpire hexpireat hpexpireat httl hpttl hexpiretime hpexpiretime hpersist hgetdel hgetex hsetex \
    sexpire spexpire sexpireat spexpireat sttl spttl sexpiretime spexpiretime spersist \
    zexpire zpexpire zexpireat zpexpireat zttl zpttl zexpiretime zpexpiretime zpersist \
    sadd srem sismember smismember smembers scard spop srandmember smove sscan sinter sunion sdiff sintercard sinterstore \
    sunionstore sdiffstore \
    zadd zincrby zscore zmscore zcard zcount zlexcount zrank zrevrank zrange zrangestore zrangebyscore zrangebylex zrevrange \
    zrevrangebyscore zrevrangebylex zrem zremrangebyrank zremrangebyscore zremrangebylex zpopmin zpopmax zmpop zrandmember \
    zscan zunion zinter zdiff zunionstore zinterstore zdiffstore zintercard del unlink exists touch type expire pexpire expireat pexpireat \
    ttl pttl expiretime pexpiretime persist rename renamenx copy move keys scan randomkey dbsize flushdb flushall swapdb \
    xadd xlen xrange xrevrange xread xreadgroup xack xclaim xautoclaim xpending xdel xtrim xsetid xgroup xinfo sort \
    sort_ro dump restore object ping echo hello auth select quit reset client info command config time debug save bgsave bgscrub lastsave bgrewriteaof \
    eval eval_ro evalsha evalsha_ro fcall fcall_ro function script shutdown module lolwut cluster";

/// Subcommands likewise.
const EXPECTED_SUBCOMMANDS: &str = "client|id client|setname client|getname client|setinfo client|info client|list \
    client|kill client|no-evict client|no-touch client|reply client|pause client|unpause command|docs command|info \
    command|count command|list command|getkeys config|get config|set config|resetstat memory|usage memory|stats memory|doctor memory|purge memory|malloc-stats \
    object|encoding object|freq \
    object|idletime object|refcount cluster|slots cluster|shards cluster|nodes cluster|info cluster|myid cluster|keyslot \
    xgroup|create xgroup|setid xgroup|destroy xgroup|createconsumer xgroup|delconsumer xinfo|stream xinfo|groups \
    xinfo|consumers cluster|countkeysinslot cluster|getkeysinslot module|list script|load \
    script|exists script|flush script|kill script|debug function|load \
    function|delete function|list function|stats function|kill function|flush function|dump function|restore";

/// Where we follow a later version than the oracle: (command, what, reason).
const KNOWN: &[(&str, &str, &str)] = &[
    ("command|getkeys", "arity", "7.2 corrected it to -3"),
    ("command|getkeysandflags", "arity", "7.2 corrected it to -3"),
    ("zrank", "arity", "7.2 added WITHSCORE"),
    ("zrevrank", "arity", "7.2 added WITHSCORE"),
    ("config|set", "flags", "what may be set differs"),
    ("set", "key specs", "the note about its flags is in our own words"),
    ("bitfield", "key specs", "the note about its flags is in our own words"),
    ("pfcount", "key specs", "the note about its flags is in our own words"),
    ("eval", "key specs", "the note about its flags is in our own words"),
    ("evalsha", "key specs", "the note about its flags is in our own words"),
    ("fcall", "key specs", "the note about its flags is in our own words"),
    ("fcall_ro", "key specs", "the note about its flags is in our own words"),
    ("eval_ro", "key specs", "the note about its flags is in our own words"),
    ("evalsha_ro", "key specs", "the note about its flags is in our own words"),
    ("getex", "key specs", "the note about its flags is in our own words"),
    ("sort", "key specs", "the notes about its keys are in our own words"),
    ("sort_ro", "key specs", "the note about its keys is in our own words"),
    ("xadd", "key specs", "the note about its flags is in our own words"),
];

/// One command as COMMAND INFO shows it, in a form that does not depend on order.
#[derive(Clone, Debug, PartialEq)]
struct Described {
    arity: i64,
    flags: BTreeSet<String>,
    positions: [i64; 3],
    categories: BTreeSet<String>,
    key_specifications: BTreeSet<String>,
}

type Table = BTreeMap<String, Described>;

fn words(value: &Value) -> BTreeSet<String> {
    value.items().iter().map(Value::text).collect()
}

fn describe(entry: &Value, table: &mut Table) {
    let fields = entry.items();
    assert!(fields.len() >= 10, "COMMAND INFO has ten fields since 7.0: {entry}");
    let number = |index: usize| fields[index].number().unwrap_or_else(|| panic!("field {index} of {entry}"));
    let described = Described {
        arity: number(1),
        flags: words(&fields[2]),
        positions: [number(3), number(4), number(5)],
        categories: words(&fields[6]),
        key_specifications: fields[8].items().iter().map(ToString::to_string).collect(),
    };
    table.insert(fields[0].text(), described);
    for subcommand in fields[9].items() {
        describe(subcommand, table);
    }
}

fn table(connection: &mut Connection) -> Table {
    let mut table = Table::new();
    for entry in connection.line("COMMAND").items() {
        describe(entry, &mut table);
    }
    table
}

#[test]
fn commands_are_described_as_redis_describes_them() {
    let (oracle, ours) = (Setup::redis().start(), Setup::annulus().shards(2).start());
    let oracle = table(&mut oracle.connect());
    let ours = table(&mut ours.connect());
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, ours) in &ours {
        // What the oracle is too old to know cannot be compared.
        let Some(oracle) = oracle.get(name) else { continue };
        compared += 1;
        let mut differs = |what: &str, oracle: String, ours: String| {
            let known = KNOWN.iter().any(|(command, field, _)| command == name && *field == what);
            if oracle != ours && !known {
                differences.push(format!("{name}: {what}: redis {oracle}, ours {ours}"));
            }
        };
        differs("arity", oracle.arity.to_string(), ours.arity.to_string());
        differs("flags", format!("{:?}", oracle.flags), format!("{:?}", ours.flags));
        differs("key positions", format!("{:?}", oracle.positions), format!("{:?}", ours.positions));
        differs("ACL categories", format!("{:?}", oracle.categories), format!("{:?}", ours.categories));
        differs(
            "key specs",
            format!("{:#?}", oracle.key_specifications),
            format!("{:#?}", ours.key_specifications),
        );
    }
    assert!(compared > 60, "only {compared} commands in common");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// The record that `docs/commands.md` is made from.
#[test]
fn the_record_of_commands_lists_what_redis_lists() {
    let oracle = Setup::redis().start();
    let version = oracle.connect().line("INFO server").text();
    if !version.contains("redis_version:7.0.") {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/commands/redis-7.0.txt");
    let record = std::fs::read_to_string(path).expect("the record");
    let recorded: BTreeSet<&str> = record
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let table = table(&mut oracle.connect());
    let listed: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    assert_eq!(recorded, listed, "{path}");
}

#[test]
fn no_command_in_scope_is_missing() {
    let server = Setup::annulus().start();
    let table = table(&mut server.connect());
    // The oracle is older than a few of them.
    let newer = ["client|setinfo", "client|no-touch"];
    let missing: Vec<&str> = EXPECTED
        .split_whitespace()
        .chain(EXPECTED_SUBCOMMANDS.split_whitespace())
        .filter(|&name| !table.contains_key(name))
        .filter(|name| !(annulus_tests::server::target_is_redis() && newer.contains(name)))
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

#[test]
fn every_way_of_listing_commands_lists_the_same() {
    let server = Setup::annulus().start();
    let mut connection = server.connect();
    let all = connection.line("COMMAND");
    let names: BTreeSet<String> = all.items().iter().map(|entry| entry.items()[0].text()).collect();
    assert_eq!(connection.line("COMMAND COUNT"), Value::Integer(names.len() as i64));
    let listed = words(&connection.line("COMMAND LIST"));
    assert!(names.is_subset(&listed), "{:?}", names.difference(&listed));
    let docs = connection.line("COMMAND DOCS");
    for name in &names {
        let doc = docs.field(name).unwrap_or_else(|| panic!("{name} has no documentation"));
        for field in ["summary", "since", "group"] {
            let text = doc.field(field).unwrap_or_else(|| panic!("{name} has no {field}")).text();
            assert!(!text.is_empty(), "{name} has an empty {field}");
        }
    }
    let one = connection.line("COMMAND INFO get");
    assert_eq!(one.items()[0].items()[0], Value::bulk("get"));
    let upper = connection.line("COMMAND INFO GET");
    assert_eq!(one, upper);
}

#[test]
fn arity_in_the_table_is_the_arity_that_is_enforced() {
    let server = Setup::annulus().start();
    let table = table(&mut server.connect());
    for (name, described) in &table {
        let least = described.arity.unsigned_abs() as usize;
        let mut arguments: Vec<&str> = name.split('|').collect();
        // Without an argument too many, what stops the server or the connection would be run.
        let too_few = least.saturating_sub(1);
        if too_few < arguments.len() {
            continue;
        }
        arguments.resize(too_few, "x");
        let reply = server.connect().command(&arguments);
        assert_eq!(
            reply.text(),
            format!("ERR wrong number of arguments for '{name}' command"),
            "{arguments:?}"
        );
    }
}
