//! Clients that are told what others do: messages, keyspace notifications, invalidations, monitored commands.

mod limits;
mod talk;

use annulus_tests::server::{DRIVERS, Setup};
use talk::talk;

/// On each driver and number of shards, durably and not.
fn everywhere(settings: &[&str], conversation: &str) {
    for (shards, driver, durability) in [
        (1, DRIVERS[0], "always"),
        (2, DRIVERS[1], "none"),
        (3, DRIVERS[0], "none"),
        (2, DRIVERS[0], "always"),
    ] {
        let setup = Setup::annulus().driver(driver).durability(durability);
        talk(&setup, shards, settings, conversation);
    }
}

#[test]
fn messages_reach_who_listens() {
    everywhere(
        &[],
        r#"
        a: SUBSCRIBE news other news
        b: HELLO 3
        b: PSUBSCRIBE n?ws * [
        c: SSUBSCRIBE news
        d: PUBLISH news hello
        d: PUBLISH other ""
        d: PUBLISH nobody x
        d: SPUBLISH news sharded
        d: PUBSUB CHANNELS
        d: PUBSUB CHANNELS ne*
        d: PUBSUB SHARDCHANNELS
        d: PUBSUB NUMSUB news other nobody
        d: PUBSUB SHARDNUMSUB news
        d: PUBSUB NUMPAT
        d: PUBSUB NUMSUB
        a: GET x
        a: PING
        b: GET x
        b: SUBSCRIBE news
        b: PUBLISH news mine
        a: UNSUBSCRIBE nothing
        a: UNSUBSCRIBE news
        d: PUBLISH news again
        a: UNSUBSCRIBE
        a: GET x
        b: PUNSUBSCRIBE *
        d: PUBLISH other x
        b: RESET
        d: PUBSUB NUMPAT
        c: SUNSUBSCRIBE
        d: SPUBLISH news x
        d: MULTI
        d: PUBLISH news x
        d: SUBSCRIBE elsewhere
        d: SET k v
        d: PUBLISH news y
        d: EXEC
        a: SUBSCRIBE last
        a: QUIT
        d: PUBLISH last x
        d: PUBSUB
        d: PUBSUB NOSUCH
        d: SUBSCRIBE
    "#,
    );
}

#[test]
fn changes_are_notified() {
    everywhere(
        &["--notify-keyspace-events", "KEAmn"],
        r#"
        a: PSUBSCRIBE __key*__:*
        b: SET k v
        b: SET k v EX 100
        b: GET k
        b: GET absent
        b: TTL absent
        b: TYPE absent
        b: OBJECT ENCODING absent
        b: APPEND k more
        b: SETRANGE k 1 xx
        b: SETRANGE absent 1 ""
        b: INCR n
        b: DECRBY n 3
        b: INCRBYFLOAT n 1.5
        b: GETSET k other
        b: GETEX k PERSIST
        b: GETEX k EX 100
        b: GETEX k PERSIST
        b: GETDEL k
        b: MSET a 1 b 2 c 3
        b: MSETNX d 1 e 2
        b: MSETNX d 1 f 2
        b: SETNX a 1
        b: DEL a b absent
        b: UNLINK c
        b: SET s 1
        b: EXPIRE s 100
        b: PERSIST s
        b: PERSIST s
        b: EXPIRE s -1
        b: RENAME d moved
        b: RENAME moved e
        b: RENAMENX e there
        b: COPY there copied
        b: COPY n copied REPLACE
        b: COPY n elsewhere DB 3
        b: MOVE n 4
        b: SELECT 4
        b: SET k v
        b: SELECT 0
        b: SETBIT bits 7 1
        b: SETBIT bits 7 1
        b: BITFIELD bits SET u8 0 255
        b: BITOP NOT notbits bits
        b: BITOP AND notbits absent nothing
        b: PFADD hll a b
        b: PFADD hll a
        b: PFMERGE merged hll
        b: SWAPDB 0 4
        b: SWAPDB 0 4
        b: PSETEX brief 300 v
        a hears
        b: PSETEX brief 300 v
        a hears
        b: GET brief
        b: MULTI
        b: SET x 1
        b: SET y 2
        b: DEL x y
        b: EXEC
        b: FLUSHDB
        b: CONFIG SET notify-keyspace-events K$
        b: CONFIG GET notify-keyspace-events
        b: SET k v EX 100
        b: DEL k
        b: CONFIG SET notify-keyspace-events Egx
        b: CONFIG GET notify-keyspace-events
        b: SET k v EX 100
        b: DEL k
        b: CONFIG SET notify-keyspace-events ""
        b: SET k v
        b: CONFIG SET notify-keyspace-events Q
        b: CONFIG GET notify-keyspace-events
    "#,
    );
}

#[test]
fn changes_of_collections_are_notified() {
    everywhere(
        &["--notify-keyspace-events", "KEAmn"],
        "
        a: PSUBSCRIBE __key*__:*
        b: RPUSH l a b c
        b: LPUSHX l z
        b: RPUSHX absent z
        b: LSET l 0 y
        b: LINSERT l BEFORE a x
        b: LREM l 0 x
        b: LREM l 0 x
        b: LTRIM l 0 2
        b: LMOVE l other LEFT RIGHT
        b: RPOPLPUSH l l
        b: LMPOP 2 absent l RIGHT COUNT 5
        b: LPOP other 9
        b: LRANGE other 0 -1
        b: RPUSH numbers 3 1 2
        b: SORT numbers STORE sorted
        b: SORT absent STORE sorted
        b: HSET h f 1 g 2
        b: HSET h f 1
        b: HSETNX h f 2
        b: HINCRBY h f 2
        b: HINCRBYFLOAT h f 0.5
        b: HDEL h absent
        b: HDEL h f g
        b: HGET h f
        b: SADD s a b c
        b: SADD s a
        b: SMOVE s t a
        b: SMOVE s t absent
        b: SREM s b
        b: SPOP s
        b: SADD v a
        b: SPOP v 9
        b: SADD s a b c
        b: SUNIONSTORE u s t
        b: SINTERSTORE u s t
        b: SDIFFSTORE u s s
        b: SDIFF absent s
        b: ZADD z 1 a 2 b 3 c
        b: ZADD z 1 a
        b: ZADD z INCR 1 a
        b: ZADD z 1 incr
        b: ZINCRBY z 1 b
        b: ZRANGESTORE y z 0 1
        b: ZRANGESTORE y z 9 9
        b: ZUNIONSTORE y 2 z absent
        b: ZINTERSTORE y 2 z z
        b: ZDIFFSTORE y 2 z z
        b: ZREM z incr
        b: ZREMRANGEBYRANK z 0 0
        b: ZREMRANGEBYSCORE z 100 200
        b: ZREMRANGEBYLEX z - +
        b: ZADD z 1 a 2 b 3 c
        b: ZPOPMIN z
        b: ZPOPMAX z 1
        b: ZMPOP 2 absent z MAX
        b: ZSCORE z a
        b: GEOADD g 13.3 38.1 Palermo 15 37.5 Catania
        b: GEOSEARCHSTORE near g FROMMEMBER Palermo BYRADIUS 1 km
        b: GEORADIUS g 15 37 200 km STORE near
        b: GEOSEARCHSTORE near g FROMLONLAT 0 0 BYRADIUS 1 m
        b: XADD x 1-1 f v
        b: XADD x MAXLEN 1 2-1 f v
        b: XADD absent NOMKSTREAM 1-1 f v
        b: XGROUP CREATE x group 0
        b: XGROUP CREATE made group $ MKSTREAM
        b: XREADGROUP GROUP group alice STREAMS x >
        b: XCLAIM x group bob 0 2-1
        b: XAUTOCLAIM x group carol 0 0
        b: XACK x group 2-1
        b: XGROUP CREATECONSUMER x group dave
        b: XGROUP CREATECONSUMER x group dave
        b: XGROUP DELCONSUMER x group dave
        b: XGROUP SETID x group 0
        b: XGROUP DESTROY x group
        b: XSETID x 9-9
        b: XDEL x 2-1
        b: XTRIM x MAXLEN 0
        b: RPUSH l a
        b: EXPIRE l 100
        b: MOVE l 3
        b: COPY made copied
        b: RENAME copied renamed
        b: FLUSHALL
    ",
    );
}

#[test]
fn what_scripts_do_is_notified_and_tracked() {
    everywhere(
        &["--notify-keyspace-events", "KEAmn"],
        "
        a: PSUBSCRIBE __key*__:*
        c: HELLO 3
        c: CLIENT TRACKING ON
        b: EVAL redis.call('set',KEYS[1],'v') 1 k
        b: EVAL redis.call('set','k','v')redis.call('rpush','l','a')redis.call('del','k') 0
        b: EVAL redis.call('get','absent') 0
        b: EVAL redis.call('set','k','v')redis.call('lpush','k','v') 0
        c: EVAL return(redis.call('get',KEYS[1])) 1 k
        b: SET k other
        c: EVAL return(redis.call('lindex',KEYS[1],0)) 1 l
        b: EVAL redis.call('lset','l',0,'b') 0
        c: GET k
        c: EVAL redis.call('set','k','mine') 0
        b: MULTI
        b: SET k 1
        b: PING
        b: EVAL redis.call('incr','k') 0
        b: DEL l
        b: EXEC
    ",
    );
}

#[test]
fn what_comes_to_who_waits_is_notified() {
    everywhere(
        &["--notify-keyspace-events", "KEAmn"],
        "
        a: PSUBSCRIBE __key*__:*
        b: PING
        c waits: BLPOP l 0
        b: RPUSH l one
        c is answered
        c waits: BLPOP l m 0
        b: RPUSH m one two
        c is answered
        c: BLPOP l m 0
        c waits: BLMOVE l m LEFT RIGHT 0
        b: LPUSH l one
        c is answered
        c: BRPOPLPUSH m m 0
        c waits: BLMPOP 0 2 l n RIGHT COUNT 2
        b: RPUSH n 1 2 3
        c is answered
        c waits: BZPOPMIN z y 0
        b: ZADD z 1 a 2 b
        c is answered
        c: BZPOPMAX y z 0
        c waits: BZMPOP 0 1 z MAX COUNT 2
        b: ZADD z 1 a 2 b
        c is answered
        c: BLPOP absent 0.01
        c: BZMPOP 0.01 2 absent gone MIN
        b: XGROUP CREATE x group 0 MKSTREAM
        c waits: XREADGROUP GROUP group alice BLOCK 0 STREAMS x >
        b: XADD x 1-1 f v
        c is answered
        c waits: BLPOP l 0
        b: MULTI
        b: RPUSH l 1
        b: DEL l
        b: RPUSH l 2
        b: EXEC
        c is answered
    ",
    );
}

#[test]
fn readers_are_told_to_forget_what_has_changed() {
    everywhere(
        &[],
        "
        a: HELLO 3
        a: CLIENT TRACKING ON
        a: CLIENT TRACKINGINFO
        a: CLIENT GETREDIR
        a: GET k
        a: MGET k l m
        b: SET k v
        b: SET k v
        b: MSET l 1 m 2
        a: GET k
        a: SET k mine
        a: GET k
        b: DEL k
        b: DEL k
        a: GET p
        b: PSETEX p 300 v
        a: GET p
        a hears
        a: EXISTS q
        b: FLUSHALL
        b: FLUSHDB
        a: GET k
        a: CLIENT TRACKING OFF
        b: SET k v
        a: CLIENT TRACKING ON NOLOOP
        a: GET k
        a: SET k v
        a: GET k
        b: SET k v
        a: CLIENT TRACKING ON OPTIN
        a: CLIENT TRACKING OFF
        a: CLIENT TRACKING ON OPTIN
        a: GET k
        b: SET k v
        a: CLIENT CACHING YES
        a: CLIENT TRACKINGINFO
        a: GET k
        a: GET l
        b: SET k v
        b: SET l v
        a: CLIENT CACHING YES
        a: MULTI
        a: GET k
        a: GET l
        a: EXEC
        b: SET k v
        b: SET l v
        a: CLIENT CACHING NO
        a: CLIENT TRACKING OFF
        a: CLIENT TRACKING ON OPTOUT
        a: CLIENT CACHING NO
        a: GET k
        a: GET l
        b: SET k v
        b: SET l v
        a: CLIENT CACHING YES
        a: CLIENT CACHING MAYBE
        a: CLIENT TRACKING ON OPTIN
        a: CLIENT TRACKING ON BCAST
        a: CLIENT TRACKING OFF
        a: CLIENT CACHING YES
        a: GET k
        b: RENAME k renamed
        a: CLIENT TRACKING ON
        a: GET renamed
        b: RENAME renamed again
        a: GET again
        b: MULTI
        b: SET again 1
        b: SET again 2
        b: EXEC
        a: RESET
        b: SET again 3
    ",
    );
}

#[test]
fn broadcasts_tell_of_prefixes() {
    everywhere(
        &[],
        "
        a: HELLO 3
        a: CLIENT TRACKING ON BCAST PREFIX user: PREFIX obj
        a: CLIENT TRACKINGINFO
        b: SET user:1 v
        b: SET other v
        b: SET object v
        b: DEL object
        a: CLIENT TRACKING ON BCAST PREFIX user:1
        a: CLIENT TRACKING ON BCAST PREFIX x PREFIX xy
        a: CLIENT TRACKING ON BCAST PREFIX more
        a: CLIENT TRACKINGINFO
        b: SET more v
        b: FLUSHALL
        a: CLIENT TRACKING OFF
        a: CLIENT TRACKING ON PREFIX x
        a: CLIENT TRACKING ON BCAST OPTIN
        a: CLIENT TRACKING ON OPTIN OPTOUT
        a: CLIENT TRACKING ON BCAST NOLOOP
        a: SET x 1
        b: SET x 2
        a: CLIENT TRACKING
        a: CLIENT TRACKING MAYBE
        a: CLIENT TRACKING ON NOSUCH
    ",
    );
}

#[test]
fn invalidations_are_redirected() {
    everywhere(
        &[],
        "
        a: PING
        sink: SUBSCRIBE __redis__:invalidate
        a: CLIENT TRACKING ON REDIRECT {id:sink}
        a: CLIENT GETREDIR
        a: CLIENT TRACKINGINFO
        a: GET k
        b: SET k v
        a: GET l
        b: FLUSHALL
        a: CLIENT TRACKING ON REDIRECT 999999
        a: CLIENT TRACKING ON REDIRECT x
        a: CLIENT TRACKING OFF
        a: CLIENT GETREDIR
        a: HELLO 3
        a: CLIENT TRACKING ON BCAST REDIRECT {id:sink}
        b: SET k v
        a: CLIENT TRACKING OFF
        a: CLIENT TRACKING ON REDIRECT {id:sink}
        a: GET k
        sink: QUIT
        b: SET k v
        a: GET l
        b: SET l v
        a: CLIENT TRACKINGINFO
    ",
    );
}

#[test]
fn monitors_see_commands() {
    everywhere(
        &["--requirepass", ""],
        r#"
        m: MONITOR
        a: PING
        a: SET k "quoted\x00
        a: SELECT 3
        a: GET k
        a: NOSUCH x
        a: GET
        a: AUTH password
        a: AUTH user password
        a: HELLO 2
        a: CONFIG GET maxclients
        a: CLIENT GETNAME
        a: MULTI
        a: SET k v
        a: SELECT 4
        a: GET k
        a: EXEC
        a: MULTI
        a: SET k v
        a: DISCARD
        a: MULTI
        a: NOSUCH
        a: EXEC
        a: WATCH k
        a: MULTI
        a: GET k
        a: EXEC
        a: WATCH k
        a: SET k changed
        a: MULTI
        a: SET k called-off
        a: SELECT 5
        a: EXEC
        a: WATCH k
        a: MULTI
        a: SELECT 5
        a: exec
        a: MSET a 1 b 2 c 3
        a: DBSIZE
        m: GET k
        m: MONITOR
        a: ECHO still
    "#,
    );
}

#[test]
fn waits_without_replicas_are_answered() {
    everywhere(
        &[],
        "
        a: SET k v
        a: WAIT 0 0
        a: WAIT 1 1
        a: WAIT -1 1
        a: WAIT x 1
        a: WAIT 1 -1
        a: WAIT 1 x
        a: MULTI
        a: WAIT 1 0
        a: EXEC
    ",
    );
}

/// What redis-server 7.0 doesn't know: as the documentation of later versions says.
#[test]
fn later_commands_are_notified() {
    let scenes = [
        ("HSET h f 1 g 2", "hset"),
        ("HEXPIREAT h 4000000000 FIELDS 2 f g", "hexpire"),
        ("HEXPIREAT h 4000000000 FIELDS 2 f g", "hexpire"),
        ("HPERSIST h FIELDS 1 f", "hpersist"),
        ("HEXPIREAT h 1 FIELDS 1 f", "hdel"),
        ("HSETEX h EXAT 1 FIELDS 1 g 3", "hdel del"),
        ("HSETEX h EX 100 FIELDS 1 g 3", "hset hexpire"),
        ("HPEXPIRE h 0 FIELDS 1 g", "hdel del"),
        ("MSETEX 1 h 1 EX 100", "set expire"),
        ("INCREX h", "incrby"),
        ("INCREX h BYFLOAT 0.5 EX 100", "incrbyfloat expire"),
        ("INCREX h BYFLOAT 1 UBOUND 0", ""),
        ("DELEX h", "del"),
        ("CL.THROTTLE h 1 1 100", "set"),
        ("CL.THROTTLE h 1 1 100 3", ""),
        ("DEL h", "del"),
        ("SADD h a b", "sadd"),
        ("SEXPIREAT h 4000000000 MEMBERS 2 a b", "sexpire"),
        ("SEXPIREAT h 4000000000 MEMBERS 2 a b", "sexpire"),
        ("SPEXPIRE h 100000 MEMBERS 2 a b", "sexpire"),
        ("SADD h a", "sadd"),
        ("SADD h a", ""),
        ("SPERSIST h MEMBERS 2 a b", "spersist"),
        ("SEXPIREAT h 1 MEMBERS 1 a", "srem"),
        ("SEXPIRE h 0 MEMBERS 1 b", "srem del"),
        ("ZADD h 1 a 2 b", "zadd"),
        ("ZEXPIREAT h 4000000000 MEMBERS 2 a b", "zexpire"),
        ("ZEXPIREAT h 4000000000 MEMBERS 2 a b", "zexpire"),
        ("ZEXPIRE h 100 MEMBERS 2 a b", "zexpire"),
        ("ZADD h 1 a", "zadd"),
        ("ZINCRBY h 1 b", "zincr"),
        ("ZPERSIST h MEMBERS 1 b", "zpersist"),
        ("ZPEXPIREAT h 1 MEMBERS 1 a", "zrem"),
        ("ZPEXPIRE h 0 MEMBERS 1 b", "zrem del"),
    ];
    // On one shard what comes before a message of our own is all there is.
    let server = Setup::annulus().shards(1).arguments(&["--notify-keyspace-events", "KA"]).start();
    let (mut listener, mut speaker) = (server.connect(), server.connect());
    listener.line("SUBSCRIBE __keyspace@0__:h");
    for (command, expected) in scenes {
        let reply = speaker.line(command);
        assert!(!reply.is_error(), "{command}: {reply}");
        speaker.line("PUBLISH __keyspace@0__:h fence");
        let mut told = Vec::new();
        loop {
            let event = listener.read().expect("an event").items()[2].text();
            if event == "fence" {
                break;
            }
            told.push(event);
        }
        assert_eq!(told.join(" "), expected, "{command}");
    }
}

#[test]
fn members_that_go_by_themselves_are_notified() {
    let server = Setup::annulus().shards(1).arguments(&["--notify-keyspace-events", "KA"]).start();
    let (mut listener, mut speaker) = (server.connect(), server.connect());
    listener.line("SUBSCRIBE __keyspace@0__:k");
    for (commands, expected) in [
        (["HSET k a 1", "HPEXPIRE k 20 FIELDS 1 a"], "hset hexpire hexpired del"),
        (["SADD k a", "SPEXPIRE k 20 MEMBERS 1 a"], "sadd sexpire sexpired del"),
        (["ZADD k 1 a", "ZPEXPIRE k 20 MEMBERS 1 a"], "zadd zexpire zexpired del"),
    ] {
        for command in commands {
            let reply = speaker.line(command);
            assert!(!reply.is_error(), "{command}: {reply}");
        }
        let mut told = Vec::new();
        while told.last().is_none_or(|event| event != "del") {
            told.push(listener.read().expect("an event").items()[2].text());
        }
        assert_eq!(told.join(" "), expected);
    }
}
