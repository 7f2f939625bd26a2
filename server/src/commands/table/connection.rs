//! The connection itself, and what clients ask about commands.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::{Command, Group};
use super::super::{ClientCommand, ConnectionCommand, Run};

const HANDSHAKE: &[F] = &[F::NOSCRIPT, F::LOADING, F::STALE, F::FAST, F::NO_AUTH, F::ALLOW_BUSY];
const ANYTIME: &[F] = &[F::LOADING, F::STALE, F::FAST];
const CLIENT: &[F] = &[F::NOSCRIPT, F::LOADING, F::STALE];
const CLIENT_ADMIN: &[F] = &[F::ADMIN, F::NOSCRIPT, F::LOADING, F::STALE];

const fn row(name: &'static str, arity: i8, command: ConnectionCommand) -> Command {
    Command::new(name, arity, Group::Connection, Run::Connection(command)).acl(&[A::CONNECTION])
}

const fn client(name: &'static str, arity: i8, command: ClientCommand) -> Command {
    row(name, arity, ConnectionCommand::Client(command)).of("client").flags(CLIENT)
}

pub(super) const ROWS: &[Command] = &[
    row("auth", -2, ConnectionCommand::Auth).flags(HANDSHAKE).docs(
        "1.0.0",
        "O(N) in the number of passwords of the user",
        "Authenticates the connection",
        "[username] password",
    ),
    Command::new("client", -2, Group::Connection, Run::Container).docs(
        "2.4.0",
        "Depends on the subcommand",
        "Looks at connections and changes their settings",
        "",
    ),
    client("caching", 3, ClientCommand::Caching).docs(
        "6.0.0",
        "O(1)",
        "Says whether the keys of the next command are tracked",
        "(YES | NO)",
    ),
    client("getname", 2, ClientCommand::Getname).docs("2.6.9", "O(1)", "Tells the connection's name", ""),
    client("getredir", 2, ClientCommand::Getredir).docs(
        "6.0.0",
        "O(1)",
        "Tells the connection that invalidations are redirected to",
        "",
    ),
    row("help", 2, ConnectionCommand::Help).of("client").flags(&[F::LOADING, F::STALE]).docs(
        "5.0.0",
        "O(1)",
        "Lists the subcommands",
        "",
    ),
    client("id", 2, ClientCommand::Id).docs("5.0.0", "O(1)", "Tells the connection's number", ""),
    client("info", 2, ClientCommand::Info)
        .docs("6.2.0", "O(1)", "Describes this connection in one line", "")
        .tips(&["nondeterministic_output"]),
    client("kill", -3, ClientCommand::Kill).flags(CLIENT_ADMIN).docs(
        "2.4.0",
        "O(N) in the number of connections",
        "Closes connections, chosen by address or by filters",
        "(address | ([ID client-id:integer] [TYPE (NORMAL | MASTER | SLAVE | REPLICA | PUBSUB)] [USER username] \
         [ADDR address] [LADDR address] [SKIPME (YES | NO)]))",
    ),
    client("list", -2, ClientCommand::List)
        .flags(CLIENT_ADMIN)
        .docs(
            "2.4.0",
            "O(N) in the number of connections",
            "Describes connections, one a line",
            "[TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [ID client-id:integer...]",
        )
        .tips(&["nondeterministic_output"]),
    client("no-evict", 3, ClientCommand::NoEvict).flags(CLIENT_ADMIN).docs(
        "7.0.0",
        "O(1)",
        "Exempts the connection from being closed for its memory",
        "(ON | OFF)",
    ),
    client("no-touch", 3, ClientCommand::NoTouch).docs(
        "7.2.0",
        "O(1)",
        "Sets whether reads of this connection count as uses of keys",
        "(ON | OFF)",
    ),
    client("pause", -3, ClientCommand::Pause).flags(CLIENT_ADMIN).docs(
        "3.0.0",
        "O(1)",
        "Holds the commands of all clients back for a while",
        "timeout:integer [WRITE | ALL]",
    ),
    client("reply", 3, ClientCommand::Reply).docs("3.2.0", "O(1)", "Switches replies off or on", "(ON | OFF | SKIP)"),
    client("setinfo", 4, ClientCommand::Setinfo).docs(
        "7.2.0",
        "O(1)",
        "Notes the name or version of the client library",
        "(LIB-NAME libname | LIB-VER libver)",
    ),
    client("setname", 3, ClientCommand::Setname).docs("2.6.9", "O(1)", "Names the connection", "connection-name"),
    client("tracking", -3, ClientCommand::Tracking).docs(
        "6.0.0",
        "O(N) in the number of prefixes",
        "Switches messages about changes of the keys that the connection has read",
        "(ON | OFF) [REDIRECT client-id:integer] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    ),
    client("trackinginfo", 2, ClientCommand::Trackinginfo).docs(
        "6.2.0",
        "O(1)",
        "Describes the connection's tracking",
        "",
    ),
    client("unblock", -3, ClientCommand::Unblock).flags(CLIENT_ADMIN).docs(
        "5.0.0",
        "O(log(N)) in the number of waiting clients",
        "Ends the wait of a client's command",
        "client-id:integer [TIMEOUT | ERROR]",
    ),
    client("unpause", 2, ClientCommand::Unpause).flags(CLIENT_ADMIN).docs(
        "6.2.0",
        "O(N) in the number of paused clients",
        "Ends what CLIENT PAUSE began",
        "",
    ),
    row("echo", 2, ConnectionCommand::Echo).flags(ANYTIME).docs("1.0.0", "O(1)", "Returns its argument", "message"),
    row("hello", -1, ConnectionCommand::Hello).flags(HANDSHAKE).docs(
        "6.0.0",
        "O(1)",
        "Chooses the protocol's version, and may authenticate and name the connection",
        "[protover:integer [AUTH (username password)] [SETNAME clientname]]",
    ),
    row("ping", -1, ConnectionCommand::Ping)
        .flags(&[F::FAST])
        .docs("1.0.0", "O(1)", "Shows that the server answers", "[message]")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row("quit", -1, ConnectionCommand::Quit).flags(HANDSHAKE).docs("1.0.0", "O(1)", "Closes the connection", ""),
    row("reset", 1, ConnectionCommand::Reset).flags(HANDSHAKE).docs(
        "6.2.0",
        "O(1)",
        "Puts the connection back to how it was when opened",
        "",
    ),
    row("select", 2, ConnectionCommand::Select).flags(ANYTIME).docs(
        "1.0.0",
        "O(1)",
        "Changes the connection's database",
        "index:integer",
    ),
];
