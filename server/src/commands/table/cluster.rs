//! Slots, and the shards that present themselves as nodes.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::{Command, Group};
use super::super::{ClusterCommand, ConnectionCommand, Run};

const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(name: &'static str, arity: i8, command: ConnectionCommand) -> Command {
    Command::new(name, arity, Group::Cluster, Run::Connection(command))
}

const fn cluster(name: &'static str, arity: i8, command: ClusterCommand) -> Command {
    row(name, arity, ConnectionCommand::Cluster(command)).of("cluster").flags(&[F::STALE])
}

pub(super) const ROWS: &[Command] = &[
    Command::new("cluster", -2, Group::Cluster, Run::Container).docs(
        "3.0.0",
        "Depends on the subcommand",
        "Looks at slots and who owns them",
        "",
    ),
    cluster("countkeysinslot", 3, ClusterCommand::Countkeysinslot).docs(
        "3.0.0",
        "O(1)",
        "Counts the keys of a slot",
        "slot:integer",
    ),
    cluster("getkeysinslot", 4, ClusterCommand::Getkeysinslot)
        .docs(
            "3.0.0",
            "O(N) in the number of keys asked for",
            "Tells keys of a slot",
            "slot:integer count:integer",
        )
        .tips(VARIES),
    row("help", 2, ConnectionCommand::Help).of("cluster").flags(&[F::LOADING, F::STALE]).docs(
        "5.0.0",
        "O(1)",
        "Lists the subcommands",
        "",
    ),
    cluster("info", 2, ClusterCommand::Info)
        .docs("3.0.0", "O(1)", "Tells the state of the cluster", "")
        .tips(VARIES),
    cluster("keyslot", 3, ClusterCommand::Keyslot).docs(
        "3.0.0",
        "O(N) in the length of the key",
        "Tells the slot of a key",
        "key:string",
    ),
    cluster("myid", 2, ClusterCommand::Myid).docs("3.0.0", "O(1)", "Tells the node's id", ""),
    cluster("nodes", 2, ClusterCommand::Nodes)
        .docs("3.0.0", "O(N) in the number of nodes", "Lists the nodes as text", "")
        .tips(VARIES),
    cluster("shards", 2, ClusterCommand::Shards)
        .docs("7.0.0", "O(N) in the number of nodes", "Lists the shards, their slots and nodes", "")
        .tips(VARIES),
    cluster("slots", 2, ClusterCommand::Slots)
        .docs("3.0.0", "O(N) in the number of nodes", "Lists ranges of slots and the nodes that own them", "")
        .tips(VARIES),
    row("readonly", 1, ConnectionCommand::Readonly)
        .flags(&[F::LOADING, F::STALE, F::FAST])
        .acl(&[A::CONNECTION])
        .docs("3.0.0", "O(1)", "Lets the connection read from replicas", ""),
    row("readwrite", 1, ConnectionCommand::Readwrite)
        .flags(&[F::LOADING, F::STALE, F::FAST])
        .acl(&[A::CONNECTION])
        .docs("3.0.0", "O(1)", "Ends what READONLY began", ""),
];
