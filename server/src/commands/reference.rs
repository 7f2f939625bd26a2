//! The table of commands, `docs/commands.md`: what the table in [`table`](super::table) has, and what Redis has besides.
//!
//! What `COMMAND` of redis-server 7.0 lists is recorded in `tests/commands/redis-7.0.txt` (a system test holds the record against the
//! server). Each of its commands, and each of [`LATER`], is in our table or has a note here that says why not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ALL;

/// `name group since`, a line a command.
const RECORDED: &str = include_str!("../../../tests/commands/redis-7.0.txt");

/// Commands of later versions that we don't have, and families of them; likewise.
const LATER: &str = "
    cluster|myshardid cluster 7.2.0
    cluster|slot-stats cluster 8.2.0
    cluster|migration cluster 8.4.0
    hotkeys server 8.6.0
    xdelex stream 8.2.0
    xackdel stream 8.2.0
    xcfgset stream 8.6.0
    xnack stream 8.8.0
    ar* array 8.8.0
    v* vector-set 8.0.0
    bf.* module 8.0.0
    cf.* module 8.0.0
    cms.* module 8.0.0
    ft.* module 8.0.0
    json.* module 8.0.0
    tdigest.* module 8.0.0
    topk.* module 8.0.0
    ts.* module 8.0.0
";

/// Commands, separated by spaces, and what there is to say of them. A container stands for its subcommands too.
type Note = (&'static str, &'static str);

/// What commands of ours leave out.
const PARTIAL: &[Note] = &[
    ("bitop", "without `DIFF`, `DIFF1`, `ANDOR` and `ONE` (8.2)"),
    ("xadd", "without `KEEPREF`, `DELREF` and `ACKED` (8.2), `IDMP` and `IDMPAUTO` (8.6)"),
    ("xtrim", "without `KEEPREF`, `DELREF` and `ACKED` (8.2)"),
    ("xreadgroup", "without `CLAIM` (8.4)"),
    ("zinter zinterstore zunion zunionstore", "without `AGGREGATE COUNT` (8.8)"),
    ("object|freq", "there is no policy that counts accesses; it says so as Redis does"),
    (
        "memory|malloc-stats",
        "the allocator tells nothing; it says so as Redis does of other allocators than its own",
    ),
    ("config|get config|set", "[our settings](configuration.md), which are not all of Redis's"),
    ("debug", "`SLEEP`, and those switches that client libraries set in their tests"),
    ("wait waitaof", "there are no replicas yet: none of them ever has anything"),
];

/// What is to come.
const NOT_YET: &[Note] = &[
    ("acl", "users and rules; `requirepass` guards the server meanwhile"),
    ("latency slowlog hotkeys", "statistics of single commands and keys"),
    ("role replicaof slaveof failover cluster|links cluster|replicas cluster|slaves", "replicas"),
    (
        "asking restore-asking cluster|setslot cluster|slot-stats cluster|myshardid",
        "slots that move between servers",
    ),
    ("migrate", "connections to other servers; `DUMP` and `RESTORE` do it from a client"),
    ("xdelex xackdel xcfgset xnack", "what streams have got since 7.4"),
    ("ar*", "the array type"),
];

/// What we have decided against.
const NOT_PLANNED: &[Note] = &[
    (
        "cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|count-failure-reports cluster|delslots \
         cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget cluster|meet cluster|migration \
         cluster|replicate cluster|reset cluster|saveconfig cluster|set-config-epoch",
        "who owns which slots is not gossip between servers here",
    ),
    ("psync replconf sync", "replicas will read our log, not Redis's replication stream"),
    (
        "module|load module|loadex module|unload",
        "foreign code in the server could break each of its promises",
    ),
    ("v*", "search by vectors is another data model"),
    ("bf.* cf.* cms.* ft.* json.* tdigest.* topk.* ts.*", "the data model is that of Redis without modules"),
];

struct Row {
    since: &'static str,
    state: String,
}

/// Groups, each with its commands by name.
type Groups = BTreeMap<&'static str, BTreeMap<String, Row>>;

fn covers(note: &Note, name: &str) -> bool {
    note.0
        .split_whitespace()
        .any(|word| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('|')))
}

fn text_of(notes: &[Note], name: &str) -> Option<&'static str> {
    notes.iter().find(|note| covers(note, name)).map(|note| note.1)
}

fn ours() -> Groups {
    let mut groups = Groups::new();
    for command in ALL.iter().filter(|command| !command.is_internal()) {
        let name = command.full_name();
        let state = text_of(PARTIAL, &name).map_or("done".to_owned(), |what| format!("partial: {what}"));
        let row = Row { since: command.since, state };
        groups.entry(command.group.name()).or_default().insert(name, row);
    }
    groups
}

fn has(groups: &Groups, name: &str) -> bool {
    groups.values().any(|rows| rows.contains_key(name))
}

/// Adds what we don't have.
fn add_absent(groups: &mut Groups) {
    let lines = RECORDED.lines().chain(LATER.lines()).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [name, group, since] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a name, a group and a version: {line}");
        };
        if has(groups, name) {
            continue;
        }
        let not_yet = text_of(NOT_YET, name).map(|what| format!("not yet: {what}"));
        let state = not_yet.or_else(|| text_of(NOT_PLANNED, name).map(|why| format!("not planned: {why}")));
        let state = state.unwrap_or_else(|| {
            panic!("{name} is a command of Redis that the command table doesn't have, and no note says why")
        });
        groups.entry(group).or_default().insert(name.to_owned(), Row { since, state });
    }
}

/// The part of the page between its markers.
fn markdown() -> String {
    let mut groups = ours();
    add_absent(&mut groups);
    let mut text = String::new();
    for (group, rows) in &groups {
        // Writing to a String doesn't fail.
        let _ = write!(text, "### {group}\n\n| command | since | state |\n|---|---|---|\n");
        for (name, Row { since, state }) in rows {
            let name = name.to_uppercase().replace('|', " ");
            let _ = writeln!(text, "| `{name}` | {since} | {state} |");
        }
        text.push('\n');
    }
    text
}

const BEGIN: &str = "<!-- commands: begin -->\n";
const END: &str = "<!-- commands: end -->\n";

/// `ANNULUS_WRITE_REFERENCE=1 cargo test -p annulus reference` brings the file up to date.
#[test]
fn the_page_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
    let file = std::fs::read_to_string(path).expect("the page");
    let (head, rest) = file.split_once(BEGIN).expect("a begin marker");
    let (body, tail) = rest.split_once(END).expect("an end marker");
    if std::env::var_os("ANNULUS_WRITE_REFERENCE").is_some() {
        let text = format!("{head}{BEGIN}\n{}{END}{tail}", markdown());
        #[expect(clippy::disallowed_methods, reason = "the test was asked to write the file")]
        std::fs::write(path, text).expect("the page can be written");
        return;
    }
    assert_eq!(
        body.trim(),
        markdown().trim(),
        "docs/commands.md is old: ANNULUS_WRITE_REFERENCE=1 cargo test -p annulus reference"
    );
}

#[test]
fn notes_are_about_what_they_say() {
    let ours = ours();
    let all = |notes: &'static [Note]| notes.iter().flat_map(|note| note.0.split_whitespace());
    for name in all(PARTIAL) {
        assert!(has(&ours, name), "{name} is called partial, but the command table doesn't have it");
    }
    for name in all(NOT_YET).chain(all(NOT_PLANNED)) {
        assert!(!has(&ours, name), "{name} is called absent, but the command table has it");
        let known = RECORDED.lines().chain(LATER.lines());
        let known = known.filter_map(|line| line.split_whitespace().next());
        assert!(known.into_iter().any(|known| known == name), "{name} is a command of no Redis");
    }
}
