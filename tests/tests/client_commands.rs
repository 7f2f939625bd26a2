//! The typed commands of our client, family by family, on every kind of server. What redis-server 7.0 does not have is left out there, and said.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Bound,
    path::Path,
    thread,
    time::Duration,
};

use annulus_client::{Command, Error, Pipeline, ScanFilter, Script, Value, commands::*};
use annulus_tests::process::{say_aloud, wait_for};
use annulus_tests::server::Setup;
use bytes::Bytes;

use super::{Kind, everywhere};

/// Whether the server has what came after 7.0. If not, says what is left out.
fn has_later(kind: Kind, what: &str) -> bool {
    if kind == Kind::Redis {
        say_aloud(&format!("redis-server 7.0 does not have {what}: left out there"));
    }
    kind == Kind::Annulus
}

fn texts(values: Vec<Bytes>) -> Vec<String> {
    values.into_iter().map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
}

fn set(names: &[&'static str]) -> BTreeSet<Bytes> {
    names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect()
}

fn scored(members: &[(&'static str, f64)]) -> Scored {
    Scored(members.iter().map(|(name, score)| (Bytes::from_static(name.as_bytes()), *score)).collect())
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn conditional_and_bounded_strings() {
    everywhere(|client, kind| {
        client.mset([("a", "ohmytext"), ("b", "mynewtext")]).unwrap();
        let common = client.lcs_matches("a", "b", 4).unwrap();
        assert_eq!(common.length, 6);
        assert_eq!(common.matches.len(), 1);
        assert_eq!(
            (common.matches[0].first, common.matches[0].second, common.matches[0].length),
            ((4, 7), (5, 8), 4)
        );
        if !has_later(kind, "MSETEX, DELEX, INCREX, CL.THROTTLE") {
            return;
        }
        let brief = SetOptions::if_absent().expires_in(MINUTE);
        assert_eq!(client.msetex([("x", "1"), ("y", "2")], &brief), Ok(true));
        assert_eq!(client.msetex([("y", "3"), ("z", "3")], &brief), Ok(false));
        assert!(matches!(client.ttl("y"), Ok(Ttl::In(_))));
        assert_eq!(client.mget(["x", "y", "z"]).unwrap(), [Some("1".into()), Some("2".into()), None]);

        assert_eq!(client.delex("x", &ValueIs::equal("2")), Ok(false));
        assert_eq!(client.delex("x", &ValueIs::NotEqual("1".into())), Ok(false));
        let digest = client.digest("x").unwrap().unwrap();
        assert_eq!(client.delex("x", &ValueIs::NotDigest(digest.clone())), Ok(false));
        assert_eq!(client.delex("x", &ValueIs::Digest(digest)), Ok(true));
        assert_eq!(client.exists(["x"]), Ok(0));
        let same = SetOptions::new()
            .condition(Condition::Value(ValueIs::Digest(client.digest("y").unwrap().unwrap())));
        assert_eq!(client.set_with("y", "4", &same), Ok(true));
        assert_eq!(client.set_with("y", "5", &same), Ok(false));

        assert_eq!(client.increx("n", Increase::by(4).at_most(10)), Ok((4, 4)));
        assert_eq!(client.increx("n", Increase::by(7).at_most(10)), Ok((4, 0)));
        assert_eq!(client.increx("n", Increase::by(7).at_most(10).saturate()), Ok((10, 6)));
        assert_eq!(
            client.increx("n", Increase::by(-20).at_least(0).saturate().expires_in(MINUTE)),
            Ok((0, -10))
        );
        assert!(matches!(client.ttl("n"), Ok(Ttl::In(_))));
        let later = Increase::by(1).expiry(Expiry::In(100 * MINUTE)).unless_it_expires();
        assert_eq!(client.increx("n", later), Ok((1, 1)));
        assert!(matches!(client.ttl("n"), Ok(Ttl::In(left)) if left <= MINUTE));
        assert_eq!(client.increx("n", Increase::by(1).persist()), Ok((2, 1)));
        assert_eq!(client.ttl("n"), Ok(Ttl::Forever));
        assert_eq!(client.increx_float("f", Increase::by(0.5).at_most(0.75).saturate()), Ok((0.5, 0.5)));
        assert_eq!(client.increx_float("f", Increase::by(0.5).at_most(0.75).saturate()), Ok((0.75, 0.25)));

        let rate = Rate::new(1, Duration::from_hours(1)).burst(2);
        let first = client.throttle("calls", rate, 2).unwrap();
        assert!(!first.limited && first.retry_after.is_none());
        assert_eq!((first.capacity, first.remaining), (3, 1));
        let second = client.throttle("calls", rate, 2).unwrap();
        assert!(second.limited && second.retry_after.unwrap() <= Duration::from_hours(1));
        assert_eq!(client.throttle("calls", rate, 0).unwrap().remaining, 1);
        assert_eq!(client.throttle("calls", rate, 4).unwrap().retry_after, None);
    });
}

#[test]
fn keys_are_dumped_sorted_and_looked_at() {
    everywhere(|client, _| {
        client.rpush("{s}list", ["3", "1", "2"]).unwrap();
        let dumped = client.dump("{s}list").unwrap().unwrap();
        assert_eq!(client.dump("absent"), Ok(None));
        client.restore("{s}copy", None, &dumped).unwrap();
        let busy = client.restore("{s}copy", None, &dumped);
        assert!(matches!(busy, Err(Error::Server { prefix, .. }) if prefix == "BUSYKEY"));
        client.restore_over("{s}copy", Some(Expiry::In(MINUTE)), &dumped).unwrap();
        assert!(matches!(client.ttl("{s}copy"), Ok(Ttl::In(_))));
        let Time(now) = client.time().unwrap();
        let later = Duration::from_secs(now.as_secs() + 1000);
        client.restore_over("{s}copy", Some(Expiry::At(later)), &dumped).unwrap();
        assert_eq!(client.expiretime("{s}copy"), Ok(Ttl::In(later)));
        assert_eq!(client.expire_at_if("{s}copy", later + MINUTE, ExpireCondition::IfSooner), Ok(false));
        assert_eq!(client.expire_at_if("{s}copy", later + MINUTE, ExpireCondition::IfAny), Ok(true));
        assert_eq!(texts(client.lrange("{s}copy", 0, -1).unwrap()), ["3", "1", "2"]);

        let sorted = |sort: &Sort| {
            let found = client.sort("{s}list", sort).unwrap();
            found
                .into_iter()
                .map(|value| String::from_utf8(value.unwrap_or_default().into()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(sorted(&Sort::new()), ["1", "2", "3"]);
        assert_eq!(sorted(&Sort::new().descending().as_text().limit(1, 1)), ["2"]);
        client.mset([("{s}w_1", "30"), ("{s}w_2", "20"), ("{s}w_3", "10")]).unwrap();
        assert_eq!(
            sorted(&Sort::new().by("{s}w_*").get("#").get("{s}w_*")),
            ["3", "10", "2", "20", "1", "30"]
        );
        assert_eq!(client.sort_store("{s}list", &Sort::new(), "{s}sorted"), Ok(3));
        assert_eq!(texts(client.lrange("{s}sorted", 0, 0).unwrap()), ["1"]);

        assert_eq!(client.object_refcount("{s}list"), Ok(Some(1)));
        assert!(matches!(client.object_freq("{s}list"), Err(Error::Server { .. })));
        assert!(client.memory_usage("{s}list").unwrap().is_some_and(|bytes| bytes > 0));
        assert_eq!(client.memory_usage("absent"), Ok(None));
    });
}

#[test]
fn bitmaps_and_their_numbers() {
    everywhere(|client, _| {
        assert_eq!(client.setbit("{b}1", 7, true), Ok(false));
        assert_eq!(client.setbit("{b}1", 7, true), Ok(true));
        assert_eq!(client.getbit("{b}1", 7), Ok(true));
        assert_eq!(client.getbit("{b}1", 700), Ok(false));
        client.set("{b}2", b"\x01\xf0").unwrap();
        assert_eq!(client.bitcount("{b}2", None), Ok(5));
        assert_eq!(client.bitcount("{b}2", Some(BitRange::Bytes(-1, -1))), Ok(4));
        assert_eq!(client.bitcount("{b}2", Some(BitRange::Bits(0, 8))), Ok(2));
        assert_eq!(client.bitpos("{b}2", true, None), Ok(BitPlace(Some(7))));
        assert_eq!(client.bitpos("{b}2", false, Some(BitRange::Bits(8, 9))), Ok(BitPlace(None)));
        assert_eq!(client.bitop(BitOperation::Xor, "{b}3", ["{b}1", "{b}2"]), Ok(2));
        assert_eq!(client.get("{b}3").unwrap().unwrap(), &b"\0\xf0"[..]);
        assert_eq!(client.bitop(BitOperation::Not, "{b}3", ["{b}3"]), Ok(2));
        assert_eq!(client.get("{b}3").unwrap().unwrap(), &b"\xff\x0f"[..]);

        let steps = BitField::new()
            .set(BitType::u(8), 0, 250)
            .incrby(BitType::u(8), 0, 10)
            .overflow(Overflow::Saturate)
            .incrby(BitType::u(8), 0, 1000)
            .overflow(Overflow::Fail)
            .incrby(BitType::u(8), 0, 1)
            .overflow(Overflow::Wrap)
            .set(BitType::i(4), 8, -3)
            .get(BitType::i(4), 8);
        let told = client.bitfield("{b}4", &steps).unwrap();
        assert_eq!(told, [Some(0), Some(4), Some(255), None, Some(0), Some(-3)]);
        assert_eq!(client.bitfield_ro("{b}4", &BitField::new().get(BitType::u(8), 0)).unwrap(), [Some(255)]);
    });
}

#[test]
fn hyperloglogs_count() {
    everywhere(|client, _| {
        assert_eq!(client.pfadd("{p}1", ["a", "b", "a"]), Ok(true));
        assert_eq!(client.pfadd("{p}1", ["b"]), Ok(false));
        client.pfadd("{p}2", ["c"]).unwrap();
        assert_eq!(client.pfcount(["{p}1"]), Ok(2));
        assert_eq!(client.pfcount(["{p}1", "{p}2"]), Ok(3));
        client.pfmerge("{p}3", ["{p}1", "{p}2"]).unwrap();
        assert_eq!(client.pfcount(["{p}3"]), Ok(3));
    });
}

#[test]
fn places_are_found_by_distance() {
    everywhere(|client, _| {
        let cities = [(13.361_389, 38.115_556, "Palermo"), (15.087_269, 37.502_669, "Catania")];
        assert_eq!(client.geoadd("{g}", cities), Ok(2));
        assert_eq!(client.geoadd_if("{g}", AddCondition::Absent, [(1.0, 1.0, "Palermo")]), Ok(0));
        assert_eq!(client.geoadd_if("{g}", AddCondition::Present, [(13.361_389, 38.2, "Palermo")]), Ok(1));
        client.geoadd("{g}", cities).unwrap();
        let distance = client.geodist("{g}", "Palermo", "Catania", Unit::Kilometers).unwrap().unwrap();
        assert!((distance - 166.2742).abs() < 0.001, "{distance}");
        assert_eq!(client.geodist("{g}", "Palermo", "Rome", Unit::Meters), Ok(None));
        assert_eq!(
            client.geohash("{g}", ["Palermo", "Rome"]).unwrap(),
            [Some("sqc8b49rny0".to_owned()), None]
        );
        let at = client.geopos("{g}", ["Palermo", "Rome"]).unwrap();
        assert!(
            at[1].is_none()
                && at[0].is_some_and(|at| (at.longitude - 13.361_389).abs() < 0.001
                    && (at.latitude - 38.115_556).abs() < 0.001)
        );

        let near = GeoSearch::within_radius(GeoFrom::Place(15.0, 37.0), 200.0, Unit::Kilometers);
        assert_eq!(
            texts(client.geosearch("{g}", &near.clone().nearest_first()).unwrap()),
            ["Catania", "Palermo"]
        );
        assert_eq!(
            texts(client.geosearch("{g}", &near.clone().nearest_first().count(1)).unwrap()),
            ["Catania"]
        );
        assert_eq!(client.geosearch("{g}", &near.clone().any(1)).unwrap().len(), 1);
        let told = client.geosearch_told("{g}", &near.clone().farthest_first()).unwrap();
        assert_eq!((told.len(), &told[0].member[..]), (2, &b"Palermo"[..]));
        assert!(
            (told[0].distance - 190.4424).abs() < 0.001
                && (told[0].position.latitude - 38.115_556).abs() < 0.001
        );
        let around = GeoSearch::within_box(GeoFrom::member("Catania"), 10.0, 10.0, Unit::Miles);
        assert_eq!(texts(client.geosearch("{g}", &around).unwrap()), ["Catania"]);
        assert_eq!(client.geosearchstore("{g}near", "{g}", &near), Ok(2));
        assert_eq!(client.zcard("{g}near"), Ok(2));
        assert_eq!(client.geosearchstore_distances("{g}far", "{g}", &near), Ok(2));
        assert!((client.zscore("{g}far", "Palermo").unwrap().unwrap() - 190.4424).abs() < 0.001);
    });
}

#[test]
fn hashes_and_fields_that_expire() {
    everywhere(|client, kind| {
        assert_eq!(client.hset("h", [("a", "1"), ("b", "two")]), Ok(2));
        assert_eq!(client.hsetnx("h", "a", "x"), Ok(false));
        assert_eq!(client.hget("h", "b").unwrap().unwrap(), "two");
        assert_eq!(client.hmget("h", ["a", "x"]).unwrap(), [Some("1".into()), None]);
        assert_eq!(
            client.hgetall("h").unwrap(),
            BTreeMap::from([("a".into(), "1".into()), ("b".into(), "two".into())])
        );
        assert_eq!(client.hincrby("h", "a", 4), Ok(5));
        assert_eq!(client.hincrbyfloat("h", "a", 0.5), Ok(5.5));
        assert_eq!(
            (client.hlen("h"), client.hstrlen("h", "b"), client.hexists("h", "x")),
            (Ok(2), Ok(3), Ok(false))
        );
        assert_eq!(client.hkeys("h").unwrap().into_iter().collect::<BTreeSet<_>>(), set(&["a", "b"]));
        assert_eq!(client.hvals("h").unwrap().into_iter().collect::<BTreeSet<_>>(), set(&["5.5", "two"]));
        assert!(set(&["a", "b"]).contains(&client.hrandfield("h").unwrap().unwrap()));
        assert_eq!(client.hrandfield("absent"), Ok(None));
        let Fields(drawn) = client.hrandfield_many("h", 5).unwrap();
        assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>().len(), 2);
        assert_eq!(client.hrandfield_many("h", -7).unwrap().0.len(), 7);
        assert_eq!(client.hdel("h", ["a", "x"]), Ok(1));
        if !has_later(kind, "fields that expire") {
            return;
        }
        let options = FieldOptions::new().if_absent().expires_in(MINUTE);
        assert_eq!(client.hsetex("h", [("c", "3"), ("d", "4")], &options), Ok(true));
        assert_eq!(client.hsetex("h", [("c", "x"), ("e", "x")], &options), Ok(false));
        assert_eq!(client.hsetex("h", [("c", "5")], &FieldOptions::new().if_present().keep_ttl()), Ok(true));
        let left = client.httl("h", ["b", "c", "x"]).unwrap();
        assert!(matches!(left[..], [Ttl::Forever, Ttl::In(time), Ttl::Absent] if time <= MINUTE));
        let Time(now) = client.time().unwrap();
        let later = Duration::from_secs(now.as_secs() + 1000);
        let done = client.hexpire("h", Expiry::At(later), ["c", "x"]).unwrap();
        assert_eq!(done, [MemberOutcome::Done, MemberOutcome::Absent]);
        assert_eq!(client.hexpiretime("h", ["c"]).unwrap(), [Ttl::In(later)]);
        let sooner = ExpireCondition::IfSooner;
        assert_eq!(
            client.hexpire_if("h", Expiry::At(later + MINUTE), sooner, ["c"]).unwrap(),
            [MemberOutcome::Unchanged]
        );
        assert_eq!(
            client.hpersist("h", ["c", "b"]).unwrap(),
            [MemberOutcome::Done, MemberOutcome::Unchanged]
        );
        assert_eq!(
            client.hgetex("h", Some(Expiry::In(MINUTE)), ["c", "x"]).unwrap(),
            [Some("5".into()), None]
        );
        assert!(matches!(client.httl("h", ["c"]).unwrap()[..], [Ttl::In(_)]));
        assert_eq!(client.hgetex("h", None, ["c"]).unwrap(), [Some("5".into())]);
        assert_eq!(
            client.hexpire("h", Expiry::At(Duration::from_secs(1)), ["d"]).unwrap(),
            [MemberOutcome::Deleted]
        );
        assert_eq!(client.hgetdel("h", ["c", "d"]).unwrap(), [Some("5".into()), None]);
    });
}

#[test]
fn lists_are_searched_and_cut() {
    everywhere(|client, _| {
        assert_eq!(client.lpushx("l", ["x"]), Ok(0));
        assert_eq!(client.rpush("l", ["a", "b", "a", "c"]), Ok(4));
        assert_eq!((client.lpushx("l", ["z"]), client.rpushx("l", ["d"])), (Ok(5), Ok(6)));
        assert_eq!(client.linsert("l", Side::Right, "z", "y"), Ok(7));
        assert_eq!(
            (client.linsert("l", Side::Left, "none", "y"), client.linsert("none", Side::Left, "a", "y")),
            (Ok(-1), Ok(0))
        );
        assert_eq!((client.lpos("l", "a"), client.lpos("l", "none")), (Ok(Some(2)), Ok(None)));
        assert_eq!(client.lpos_many("l", "a", -1, 0).unwrap(), [4, 2]);
        let (key, popped) = client.lmpop(["none", "l"], Side::Left, 2).unwrap().unwrap();
        assert_eq!((&key[..], texts(popped)), (&b"l"[..], vec!["z".to_owned(), "y".to_owned()]));
        assert_eq!(client.lmpop(["none"], Side::Left, 2), Ok(None));
        client.lset("l", 0, "A").unwrap();
        assert_eq!(client.lrem("l", 0, "a"), Ok(1));
        client.ltrim("l", 0, 1).unwrap();
        assert_eq!(texts(client.lrange("l", 0, -1).unwrap()), ["A", "b"]);
        assert_eq!(client.lmove(("l", Side::Left), ("l", Side::Right)).unwrap().unwrap(), "A");
        assert_eq!(client.lindex("l", -1).unwrap().unwrap(), "A");
        assert_eq!(client.lpop_many("l", 5).unwrap().map(texts).unwrap(), ["b", "A"]);
        assert_eq!(
            (client.llen("l"), client.rpop("l"), client.rpop_many("l", 2)),
            (Ok(0), Ok(None), Ok(None))
        );
    });
}

#[test]
fn sets_are_put_together() {
    everywhere(|client, _| {
        assert_eq!(
            (client.sadd("{s}1", ["a", "b", "c"]), client.sadd("{s}2", ["b", "c", "d"])),
            (Ok(3), Ok(3))
        );
        assert_eq!(client.smismember("{s}1", ["a", "x"]).unwrap(), [true, false]);
        assert_eq!(client.sismember("{s}1", "x"), Ok(false));
        assert_eq!(client.sinter(["{s}1", "{s}2"]).unwrap(), set(&["b", "c"]));
        assert_eq!(client.sunion(["{s}1", "{s}2"]).unwrap(), set(&["a", "b", "c", "d"]));
        assert_eq!(client.sdiff(["{s}1", "{s}2"]).unwrap(), set(&["a"]));
        assert_eq!(
            (client.sintercard(["{s}1", "{s}2"], None), client.sintercard(["{s}1", "{s}2"], Some(1))),
            (Ok(2), Ok(1))
        );
        assert_eq!(client.sinterstore("{s}3", ["{s}1", "{s}2"]), Ok(2));
        assert_eq!(client.sunionstore("{s}3", ["{s}1", "{s}2"]), Ok(4));
        assert_eq!(client.sdiffstore("{s}3", ["{s}2", "{s}1"]), Ok(1));
        assert_eq!(client.smembers("{s}3").unwrap(), set(&["d"]));
        assert_eq!(client.smove("{s}3", "{s}1", "d"), Ok(true));
        assert_eq!((client.scard("{s}1"), client.srem("{s}1", ["d", "x"])), (Ok(4), Ok(1)));
        assert_eq!(
            client.srandmember_many("{s}1", 9).unwrap().into_iter().collect::<BTreeSet<_>>(),
            set(&["a", "b", "c"])
        );
        assert_eq!(client.srandmember_many("{s}1", -9).unwrap().len(), 9);
        assert!(set(&["a", "b", "c"]).contains(&client.srandmember("{s}1").unwrap().unwrap()));
        let mut popped = client.spop_many("{s}1", 2).unwrap();
        popped.insert(client.spop("{s}1").unwrap().unwrap());
        assert_eq!((popped, client.spop("{s}1")), (set(&["a", "b", "c"]), Ok(None)));
    });
}

#[test]
fn members_of_sets_expire() {
    everywhere(|client, kind| {
        if kind != Kind::Annulus {
            return;
        }
        let Time(now) = client.time().unwrap();
        let (later, past) = (Duration::from_secs(now.as_secs() + 1000), Duration::from_secs(1));
        let (done, absent, deleted) = (MemberOutcome::Done, MemberOutcome::Absent, MemberOutcome::Deleted);
        client.sadd("s", ["a", "b", "c"]).unwrap();
        assert_eq!(client.sexpire("s", Expiry::At(later), ["a", "x"]).unwrap(), [done, absent]);
        let sooner = ExpireCondition::IfSooner;
        assert_eq!(
            client.sexpire_if("s", Expiry::At(later + MINUTE), sooner, ["a"]).unwrap(),
            [MemberOutcome::Unchanged]
        );
        assert_eq!(client.sexpiretime("s", ["a", "b"]).unwrap(), [Ttl::In(later), Ttl::Forever]);
        assert!(matches!(client.sttl("s", ["a", "x"]).unwrap()[..], [Ttl::In(_), Ttl::Absent]));
        assert_eq!(client.spersist("s", ["a", "b"]).unwrap(), [done, MemberOutcome::Unchanged]);
        assert_eq!(client.sexpire("s", Expiry::At(past), ["a", "b"]).unwrap(), [deleted, deleted]);
        assert_eq!(client.smembers("s").unwrap(), set(&["c"]));

        client.zadd("z", [(1.0, "a"), (2.0, "b"), (3.0, "c")]).unwrap();
        assert_eq!(client.zexpire("z", Expiry::In(MINUTE), ["b", "x"]).unwrap(), [done, absent]);
        assert!(matches!(client.zttl("z", ["b"]).unwrap()[..], [Ttl::In(left)] if left <= MINUTE));
        assert_eq!(client.zexpire_if("z", Expiry::At(later), sooner, ["a"]).unwrap(), [done]);
        assert_eq!(client.zexpiretime("z", ["a"]).unwrap(), [Ttl::In(later)]);
        assert_eq!(client.zpersist("z", ["a"]).unwrap(), [done]);
        assert_eq!(client.zexpire("z", Expiry::At(past), ["a"]).unwrap(), [deleted]);
        assert_eq!(client.zcard("z"), Ok(2));
    });
}

#[test]
fn sorted_sets_by_rank_score_and_name() {
    everywhere(|client, _| {
        assert_eq!(client.zadd("{z}", [(1.0, "a"), (2.0, "b"), (3.0, "c")]), Ok(3));
        let options = ScoreOptions::new().condition(AddCondition::Absent);
        assert_eq!(client.zadd_with("{z}", options, [(9.0, "a"), (4.0, "d")]), Ok(1));
        let greater = ScoreOptions::new().only_greater().count_changed();
        assert_eq!(client.zadd_with("{z}", greater, [(0.5, "a"), (5.0, "d")]), Ok(1));
        assert_eq!(client.zadd_incr("{z}", ScoreOptions::new().only_less(), 1.0, "a"), Ok(None));
        assert_eq!(client.zadd_incr("{z}", ScoreOptions::new(), -0.5, "a"), Ok(Some(0.5)));
        assert_eq!(client.zincrby("{z}", 0.5, "a"), Ok(1.0));
        assert_eq!(client.zmscore("{z}", ["a", "x"]).unwrap(), [Some(1.0), None]);
        assert_eq!(
            (client.zrank("{z}", "d"), client.zrevrank("{z}", "d"), client.zrank("{z}", "x")),
            (Ok(Some(3)), Ok(Some(0)), Ok(None))
        );
        assert_eq!(
            (client.zcount("{z}", ..), client.zcount("{z}", 2.0..3.0), client.zcount("{z}", 2.0..=3.0)),
            (Ok(4), Ok(1), Ok(2))
        );
        assert_eq!(client.zcount("{z}", (Bound::Excluded(2.0), Bound::Unbounded)), Ok(2));
        assert_eq!(client.zrange("{z}", 0, 0).unwrap(), scored(&[("a", 1.0)]));
        assert_eq!(client.zrevrange("{z}", 0, 0).unwrap(), scored(&[("d", 5.0)]));
        assert_eq!(client.zrangebyscore("{z}", 2.0, 3.0).unwrap(), scored(&[("b", 2.0), ("c", 3.0)]));
        assert_eq!(texts(client.zrange_by("{z}", &Ranked::by_rank(0, 1).reversed()).unwrap()), ["d", "c"]);
        let page = Ranked::by_score(1.0..5.0).reversed().limit(1, 1);
        assert_eq!(client.zrange_told("{z}", &page).unwrap(), scored(&[("b", 2.0)]));
        assert_eq!(client.zrangestore("{z}part", "{z}", &Ranked::by_score(2.0..)), Ok(3));

        client.zadd("{z}names", ["ann", "ada", "bob", "cleo"].map(|name| (0.0, name))).unwrap();
        assert_eq!(client.zlexcount("{z}names", &LexRange::prefix("a")), Ok(2));
        let range = Ranked::by_name(LexRange::all().above("ada").up_to("bob"));
        assert_eq!(texts(client.zrange_by("{z}names", &range).unwrap()), ["ann", "bob"]);
        assert_eq!(texts(client.zrange_by("{z}names", &range.reversed()).unwrap()), ["bob", "ann"]);
        assert_eq!(client.zremrangebylex("{z}names", &LexRange::all().from("b").below("c")), Ok(1));

        let both = Combine::of(["{z}", "{z}part"]);
        assert_eq!(
            client.zinter(&both.clone().weights([1.0, 10.0]).highest()).unwrap(),
            scored(&[("b", 20.0), ("c", 30.0), ("d", 50.0)])
        );
        assert_eq!(
            client.zunion(&both.clone().lowest()).unwrap(),
            scored(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 5.0)])
        );
        assert_eq!(client.zdiff(["{z}", "{z}part"]).unwrap(), scored(&[("a", 1.0)]));
        assert_eq!(
            (client.zintercard(["{z}", "{z}part"], None), client.zintercard(["{z}", "{z}part"], Some(2))),
            (Ok(3), Ok(2))
        );
        assert_eq!(
            (
                client.zunionstore("{z}u", &both),
                client.zinterstore("{z}i", &both),
                client.zdiffstore("{z}d", ["{z}", "{z}part"])
            ),
            (Ok(4), Ok(3), Ok(1))
        );
        assert_eq!(client.zscore("{z}u", "b"), Ok(Some(4.0)));

        assert_eq!(client.zremrangebyrank("{z}u", 0, 0), Ok(1));
        assert_eq!(client.zremrangebyscore("{z}u", 5.0..), Ok(2));
        assert_eq!((client.zcard("{z}u"), client.zrem("{z}u", ["b", "x"])), (Ok(1), Ok(1)));
        let Scored(drawn) = client.zrandmember_many("{z}", 9).unwrap();
        assert_eq!(drawn.len(), 4);
        assert_eq!(
            (client.zrandmember_many("{z}", -9).unwrap().0.len(), client.zrandmember("absent")),
            (9, Ok(None))
        );
        assert!(client.zrandmember("{z}").unwrap().is_some());
        assert_eq!(client.zpopmin("{z}", 1).unwrap(), scored(&[("a", 1.0)]));
        assert_eq!(client.zpopmax("{z}", 1).unwrap(), scored(&[("d", 5.0)]));
        let popped = client.zmpop(["{z}none", "{z}"], ScoreEnd::Highest, 5).unwrap().unwrap();
        assert_eq!(popped, (Bytes::from_static(b"{z}"), scored(&[("c", 3.0), ("b", 2.0)])));
        assert_eq!(client.zmpop(["{z}none"], ScoreEnd::Lowest, 5), Ok(None));
    });
}

#[test]
fn elements_are_scanned() {
    everywhere(|client, _| {
        let numbers: Vec<String> = (0..500).map(|number| format!("n{number}")).collect();
        client.hset("h", numbers.iter().map(|number| (number, &number[1..]))).unwrap();
        client.sadd("s", &numbers).unwrap();
        client.zadd("z", numbers.iter().enumerate().map(|(score, number)| (score as f64, number))).unwrap();
        let fields = client.hscan("h", ScanFilter::all()).collect::<Result<BTreeMap<_, _>, _>>().unwrap();
        assert!(fields.len() == 500 && fields.iter().all(|(name, value)| name[1..] == value[..]));
        let members =
            client.sscan("s", ScanFilter::matching("n4?").count(50)).collect::<Result<BTreeSet<_>, _>>();
        assert_eq!(members.unwrap().len(), 10);
        let ranked = client.zscan("z", ScanFilter::all()).collect::<Result<Vec<_>, _>>().unwrap();
        assert!(ranked.iter().all(|(name, score)| &name[..] == format!("n{score}").as_bytes()));
        assert_eq!(ranked.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), 500);
        assert_eq!(client.sscan("absent", ScanFilter::all()).count(), 0);
        assert!(client.hscan("s", ScanFilter::all()).next().unwrap().is_err());
    });
}

#[test]
fn streams_are_added_to_read_and_trimmed() {
    everywhere(|client, _| {
        let first = client.xadd("s", [("a", "1"), ("b", "2")]).unwrap();
        assert!(first > StreamId::MIN);
        let none = client.xadd_with("none", &AddOptions::new().only_existing(), [("a", "1")]);
        assert_eq!(none, Ok(None));
        let second = StreamId::new(first.ms + 1000, 5);
        let exactly = AddOptions::new().id(AddId::Exactly(second));
        assert_eq!(client.xadd_with("s", &exactly, [("a", "2")]), Ok(Some(second)));
        assert!(matches!(client.xadd_with("s", &exactly, [("a", "2")]), Err(Error::Server { .. })));
        let third = client
            .xadd_with("s", &AddOptions::new().id(AddId::At(second.ms)), [("a", "3")])
            .unwrap()
            .unwrap();
        assert_eq!(third, StreamId::new(second.ms, 6));
        assert_eq!(client.xlen("s"), Ok(3));
        let ids = |entries: Vec<StreamEntry>| entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>();
        let all = client.xrange("s", .., None).unwrap();
        assert_eq!((all[0].get("b").unwrap(), all[0].fields.len()), (&Bytes::from_static(b"2"), 2));
        assert_eq!(ids(all), [first, second, third]);
        assert_eq!(ids(client.xrange("s", first..second, None).unwrap()), [first]);
        assert_eq!(ids(client.xrevrange("s", second.., Some(1)).unwrap()), [third]);
        let read = client.xread([("s", After::Id(first)), ("none", After::Beginning)], Some(1)).unwrap();
        assert_eq!(ids(read.into_entries().collect()), [second]);
        assert!(client.xread([("s", After::Id(third))], None).unwrap().is_empty());

        let info = client.xinfo_stream("s").unwrap();
        assert_eq!((info.length, info.groups, info.last_id), (3, 0, third));
        assert_eq!(info.entries_added, Some(3));
        assert_eq!((info.first.unwrap().id, info.last.unwrap().id), (first, third));
        assert!(matches!(client.xinfo_stream_full("s", 1), Ok(Value::Map(_) | Value::Array(_))));
        assert_eq!(client.xdel("s", [second, StreamId::MAX]), Ok(1));
        assert_eq!(client.xtrim("s", &Trim::max_len(1)), Ok(1));
        assert_eq!(client.xtrim("s", &Trim::min_id(third).limit(10)), Ok(0));
        let trimmed = AddOptions::new().trim(Trim::max_len(1));
        let last = client.xadd_with("s", &trimmed, [("a", "4")]).unwrap().unwrap();
        assert_eq!(ids(client.xrange("s", .., None).unwrap()), [last]);
        client.xsetid("s", StreamId::MAX).unwrap();
        assert!(matches!(client.xadd("s", [("a", "5")]), Err(Error::Server { .. })));
    });
}

#[test]
fn groups_share_a_stream() {
    everywhere(|client, _| {
        client.xgroup_create_mkstream("s", "g", After::Beginning).unwrap();
        let again = client.xgroup_create("s", "g", After::Now);
        assert!(matches!(again, Err(Error::Server { prefix, .. }) if prefix == "BUSYGROUP"));
        let ids: Vec<StreamId> =
            (0..4).map(|number| client.xadd("s", [("n", number.to_string())]).unwrap()).collect();
        let (ada, grace) = (GroupReader::new("g", "ada").count(2), GroupReader::new("g", "grace"));
        let new = |reader: &GroupReader| {
            let read = client.xreadgroup(reader, [("s", GroupRead::New)]).unwrap();
            read.into_entries().map(|entry| entry.id).collect::<Vec<_>>()
        };
        assert_eq!((new(&ada), new(&grace), new(&ada)), (ids[..2].to_vec(), ids[2..].to_vec(), vec![]));
        assert_eq!(client.xack("s", "g", [ids[0], StreamId::MAX]), Ok(1));

        let summary = client.xpending("s", "g").unwrap();
        assert_eq!((summary.count, summary.ids), (3, Some((ids[1], ids[3]))));
        assert_eq!(summary.consumers, [("ada".into(), 1), ("grace".into(), 2)]);
        let pending =
            client.xpending_range("s", "g", &PendingFilter::of("grace").idle(Duration::ZERO), .., 1).unwrap();
        assert_eq!(
            (pending[0].id, pending[0].deliveries, &pending[0].consumer[..]),
            (ids[2], 1, &b"grace"[..])
        );
        assert_eq!(client.xpending_range("s", "g", &PendingFilter::all().idle(MINUTE), .., 9).unwrap(), []);

        let claim = Claim::new("g", "ada", Duration::ZERO);
        let claimed = client.xclaim("s", &claim.clone().deliveries(7).idle(MINUTE), [ids[2]]).unwrap();
        assert_eq!((claimed[0].id, claimed[0].get("n").unwrap()), (ids[2], &Bytes::from_static(b"2")));
        let pending = client.xpending_range("s", "g", &PendingFilter::of("ada"), ids[2]..=ids[2], 1).unwrap();
        assert!(pending[0].deliveries == 7 && pending[0].idle >= MINUTE);
        assert_eq!(client.xclaim_ids("s", &claim, [ids[0]]).unwrap(), []);
        assert_eq!(client.xclaim_ids("s", &claim.clone().force(), [ids[0]]).unwrap(), [ids[0]]);
        client.xdel("s", [ids[1]]).unwrap();
        let again = client.xreadgroup(&ada, [("s", GroupRead::Pending(ids[0]))]).unwrap();
        let again: Vec<StreamEntry> = again.into_entries().collect();
        assert_eq!(
            (again[0].id, again[0].fields.len()),
            (ids[1], 0),
            "an entry that is deleted has no fields"
        );
        let part =
            client.xautoclaim("s", &Claim::new("g", "grace", Duration::ZERO), StreamId::MIN, 1).unwrap();
        assert_eq!((part.claimed[0].id, part.next), (ids[0], Some(ids[1])));
        let rest =
            client.xautoclaim_ids("s", &Claim::new("g", "grace", Duration::ZERO), ids[1], 100).unwrap();
        assert_eq!((rest.claimed, rest.deleted, rest.next), (ids[2..].to_vec(), vec![ids[1]], None));

        let groups = client.xinfo_groups("s").unwrap();
        assert_eq!((&groups[0].name[..], groups[0].consumers, groups[0].pending), (&b"g"[..], 2, 3));
        assert_eq!(groups[0].last_delivered, ids[3]);
        let consumers = client.xinfo_consumers("s", "g").unwrap();
        let pending: BTreeMap<Bytes, u64> =
            consumers.into_iter().map(|consumer| (consumer.name, consumer.pending)).collect();
        assert_eq!(pending, BTreeMap::from([("ada".into(), 0), ("grace".into(), 3)]));
        assert_eq!(client.xgroup_createconsumer("s", "g", "ada"), Ok(false));
        assert_eq!(client.xgroup_delconsumer("s", "g", "grace"), Ok(3));
        client.xgroup_setid("s", "g", After::Id(ids[2])).unwrap();
        assert_eq!(new(&GroupReader::new("g", "eve").no_ack()), [ids[3]]);
        assert_eq!(client.xpending("s", "g").unwrap().count, 0);
        assert_eq!((client.xgroup_destroy("s", "g"), client.xgroup_destroy("s", "g")), (Ok(true), Ok(false)));
        let gone = client.xreadgroup(&ada, [("s", GroupRead::New)]);
        assert!(matches!(gone, Err(Error::Server { prefix, .. }) if prefix == "NOGROUP"));
    });
}

#[test]
fn sessions_wait_for_streams_and_sorted_sets() {
    everywhere(|client, _| {
        let session = client.session().unwrap();
        let soon = Some(Duration::from_millis(20));
        assert!(session.xread_wait([("s", After::Now)], None, soon).unwrap().is_empty());
        assert_eq!(session.bzpopmin(["z"], soon), Ok(None));
        assert_eq!(session.blmpop(["l"], Side::Left, 2, soon), Ok(None));
        client.zadd("z", [(1.0, "a"), (2.0, "b"), (3.0, "c"), (4.0, "d")]).unwrap();
        assert_eq!(session.bzpopmin(["z"], None), Ok(Some(("z".into(), "a".into(), 1.0))));
        assert_eq!(session.bzpopmax(["z"], None), Ok(Some(("z".into(), "d".into(), 4.0))));
        assert_eq!(
            session.bzmpop(["z"], ScoreEnd::Lowest, 2, None),
            Ok(Some(("z".into(), scored(&[("b", 2.0), ("c", 3.0)]))))
        );
        client.rpush("l", ["x", "y", "z"]).unwrap();
        let (_, popped) = session.blmpop(["none", "l"], Side::Right, 2, None).unwrap().unwrap();
        assert_eq!(texts(popped), ["z", "y"]);

        client.xgroup_create_mkstream("s", "g", After::Now).unwrap();
        let reader = GroupReader::new("g", "ada");
        assert!(session.xreadgroup_wait(&reader, [("s", GroupRead::New)], soon).unwrap().is_empty());
        let id = session.client_id().unwrap();
        let (read, added) = thread::scope(|scope| {
            let waits =
                scope.spawn(|| session.xreadgroup_wait(&reader, [("s", GroupRead::New)], None).unwrap());
            let waiting = format!("id={id} ");
            wait_for("the session to wait", || {
                let list = client.client_list().unwrap();
                list.lines().any(|line| line.starts_with(&waiting) && line.contains("flags=b"))
            });
            let added = client.xadd("s", [("n", "1")]).unwrap();
            (waits.join().unwrap(), added)
        });
        assert_eq!(read.into_entries().map(|entry| entry.id).collect::<Vec<_>>(), [added]);
        assert_eq!(
            session.xread_wait([("s", After::Beginning)], Some(1), None).unwrap().into_entries().count(),
            1
        );
        assert_eq!(client.client_unblock(id, false), Ok(false));
        assert_eq!(session.wait_replicas(0, Duration::from_millis(10)), Ok(0));
    });
}

#[test]
fn scripts_are_brought_along_when_they_are_not_known() {
    everywhere(|client, _| {
        let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        // Whoever asks, and by whichever way: the first time the server does not know it.
        client.script_flush().unwrap();
        assert_eq!(client.script_exists([add.digest()]).unwrap(), [false]);
        assert_eq!(client.script(&add, ["n"], ["2"]), Ok(2_i64));
        assert_eq!(client.script_exists([add.digest()]).unwrap(), [true]);
        assert_eq!(client.script(&add, ["n"], ["2"]), Ok(4_i64));
        client.script_flush().unwrap();
        assert_eq!(client.session().unwrap().script(&add, ["n"], ["2"]), Ok(6_i64));
        client.script_flush().unwrap();
        let cache = client.cache(annulus_client::CacheOptions::default()).unwrap();
        assert_eq!(cache.get("n").unwrap().unwrap(), "6");
        assert_eq!(cache.script(&add, ["n"], ["2"]), Ok(8_i64));
        assert_eq!(
            cache.get("n").unwrap().unwrap(),
            "8",
            "a cache does not answer with what its own script has changed"
        );

        let look = Script::new("return {redis.call('GET', KEYS[1]), #ARGV, ARGV[1]}");
        let seen: (Bytes, i64, Bytes) = client.script_ro(&look, ["n"], [b"\0\xff"]).unwrap();
        assert_eq!(seen, (Bytes::from_static(b"8"), 1, Bytes::from_static(b"\0\xff")));
        let refused = client.script_ro::<Value>(&add, ["n"], ["1"]);
        assert!(matches!(refused, Err(Error::Server { .. })), "{refused:?}");
        assert_eq!(client.script_load(&add).unwrap(), add.digest());
        assert_eq!(client.eval("return ARGV[1]", NO_KEYS, ["x"]), Ok("x".to_owned()));
        assert_eq!(client.eval_ro("return #KEYS", ["a", "b"], NO_ARGUMENTS), Ok(2_i64));
        let failed = client.eval::<Value>("return redis.error_reply('MINE failed')", NO_KEYS, NO_ARGUMENTS);
        assert!(matches!(failed, Err(Error::Server { prefix, .. }) if prefix == "MINE"));
        assert!(matches!(client.script_kill(), Err(Error::Server { prefix, .. }) if prefix == "NOTBUSY"));
        // A pipeline cannot bring it along, and says so.
        client.script_flush().unwrap();
        let pipeline =
            Pipeline::new().with(Command::new("EVALSHA").arg(add.digest()).counted_keys(["n"]).arg("1"));
        let [Err(Error::Server { prefix, .. })] = &client.pipeline(pipeline).unwrap()[..] else {
            panic!("no error")
        };
        assert_eq!(prefix, "NOSCRIPT");
    });
}

#[test]
fn functions_are_loaded_and_called() {
    const LIBRARY: &str = "#!lua name=lib\n\
        redis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)\n\
        redis.register_function{function_name='look', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}";
    everywhere(|client, _| {
        client.function_flush().unwrap();
        assert_eq!(client.function_load(LIBRARY).unwrap(), "lib");
        assert!(client.function_load(LIBRARY).is_err());
        assert_eq!(client.function_load_over(LIBRARY).unwrap(), "lib");
        client.fcall::<()>("put", ["k"], ["v"]).unwrap();
        assert_eq!(client.fcall_ro::<Bytes>("look", ["k"], NO_ARGUMENTS).unwrap(), "v");
        assert!(client.fcall_ro::<Value>("put", ["k"], ["w"]).is_err());
        let libraries = client.function_list("l*", true).unwrap();
        assert_eq!((&libraries[0].name[..], &libraries[0].engine[..]), ("lib", "LUA"));
        assert_eq!(libraries[0].code.as_deref(), Some(LIBRARY.as_bytes()));
        let flags: BTreeMap<_, _> =
            libraries[0].functions.iter().map(|function| (&function.name[..], &function.flags[..])).collect();
        assert_eq!(flags, BTreeMap::from([("put", &[][..]), ("look", &["no-writes".to_owned()][..])]));
        assert_eq!(client.function_list("x*", false).unwrap(), []);
        let dumped = client.function_dump().unwrap();
        client.function_delete("lib").unwrap();
        assert!(client.fcall::<Value>("put", ["k"], ["v"]).is_err());
        client.function_restore(&dumped, RestorePolicy::Append).unwrap();
        assert!(client.function_restore(&dumped, RestorePolicy::Append).is_err());
        client.function_restore(&dumped, RestorePolicy::Replace).unwrap();
        client.function_restore(&dumped, RestorePolicy::Flush).unwrap();
        assert_eq!(client.fcall_ro::<Bytes>("look", ["k"], NO_ARGUMENTS).unwrap(), "v");
        client.function_stats().unwrap();
        assert!(matches!(client.function_kill(), Err(Error::Server { prefix, .. }) if prefix == "NOTBUSY"));
        client.function_flush().unwrap();
    });
}

#[test]
fn the_server_is_asked_about_itself() {
    everywhere(|client, kind| {
        assert_eq!(client.command_getkeys(["MSET", "a", "1", "b", "2"]).map(texts).unwrap(), ["a", "b"]);
        let told = client.command_getkeysandflags(["GET", "k"]).unwrap();
        assert_eq!((&told[0].0[..], told[0].1.contains(&"RO".to_owned())), (&b"k"[..], true));
        assert!(client.command_docs(["get"]).unwrap().contains_key("get"));
        let infos = client.command_info(["get", "nosuch"]).unwrap();
        assert!(infos[0].is_some() && infos[1].is_none());
        assert!(client.command_count().unwrap() > 200);
        client.memory_stats().unwrap();
        client.memory_doctor().unwrap();
        client.memory_malloc_stats().unwrap();
        client.memory_purge().unwrap();
        client.module_list().unwrap();
        assert_eq!(client.client_getredir(), Ok(-1));
        client.client_trackinginfo().unwrap();
        client.client_pause(Duration::from_millis(1)).unwrap();
        client.client_unpause().unwrap();
        assert_eq!(client.pubsub_shardchannels("*").unwrap(), Vec::<Bytes>::new());
        assert_eq!(client.pubsub_shardnumsub(["a"]).unwrap(), BTreeMap::from([("a".into(), 0)]));
        if kind == Kind::Annulus {
            client.set("k", "v").unwrap();
            wait_for("no save to be under way", || client.save().is_ok());
            assert!(client.bgsave().unwrap().contains("aving"));
            wait_for("no scrub to be under way", || client.bgscrub().is_ok());
        }
    });
}

#[test]
fn the_cluster_is_described() {
    for driver in super::DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).arguments(&["--cluster-ports", "on"]).start();
        let client = annulus_client::blocking::Client::connect(super::url(&server)).unwrap();
        let ranges = client.cluster_slots().unwrap();
        assert_eq!((ranges.first().unwrap().first, ranges.last().unwrap().last), (0, 16383));
        let ports: BTreeSet<u16> = ranges.iter().map(|range| range.nodes[0].port).collect();
        assert_eq!(ports, BTreeSet::from([server.shard_port(0), server.shard_port(1)]));
        assert!(client.cluster_info().unwrap().contains("cluster_state:ok"));
        assert_eq!(client.cluster_nodes().unwrap().lines().count(), 2);
        let id = client.cluster_myid().unwrap();
        assert!(ranges.iter().any(|range| range.nodes[0].id == id));
        client.cluster_shards().unwrap();
        assert_eq!(client.cluster_keyslot("foo"), Ok(12182));
        client.set("foo", "bar").unwrap();
        assert_eq!(client.cluster_countkeysinslot(12182), Ok(1));
        assert_eq!(client.cluster_getkeysinslot(12182, 10).map(texts).unwrap(), ["foo"]);
    }
}

/// Commands that have no method, with the reason.
const WITHOUT_METHOD: &[(&str, &[&str])] = &[
    (
        "another method sends the command with finer units",
        &[
            "expire",
            "expireat",
            "expiretime",
            "ttl",
            "setex",
            "hexpire",
            "hexpireat",
            "hexpiretime",
            "httl",
            "sexpire",
            "sexpireat",
            "sexpiretime",
            "sttl",
            "zexpire",
            "zexpireat",
            "zexpiretime",
            "zttl",
        ],
    ),
    (
        "another command does the same, and is newer",
        &[
            "substr",
            "hmset",
            "rpoplpush",
            "brpoplpush",
            "sort_ro",
            "zrevrangebyscore",
            "zrangebylex",
            "zrevrangebylex",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
        ],
    ),
    ("the URL or the options say it", &["auth", "select", "client|setname", "client|setinfo"]),
    (
        "it would change a connection that others share; a session takes it as a command",
        &["client|no-evict", "client|no-touch", "client|caching", "readonly", "readwrite"],
    ),
    (
        "it ends the connection, or makes it another one",
        &["quit", "reset", "monitor", "shutdown", "client|reply"],
    ),
    (
        "`annulus backup --from` sends it, and copies the files itself",
        &["backup|abort", "backup|begin", "backup|cut", "backup|keep", "backup|end"],
    ),
    ("for tests of the server, or for fun", &["debug", "pfdebug", "pfselftest", "script|debug", "lolwut"]),
    ("the same as COMMAND INFO of all", &["command"]),
    ("a transaction that is not carried out is not sent", &["discard"]),
];

#[test]
fn every_command_of_the_server_has_a_method_or_a_reason() {
    let server = Setup::annulus().start();
    let client = annulus_client::blocking::Client::connect(super::url(&server)).unwrap();
    let named = |name: &str| WITHOUT_METHOD.iter().any(|(_, names)| names.contains(&name));
    let source = source();
    let has_method = |name: &str| {
        let made = match name.to_ascii_uppercase().split_once('|') {
            Some((container, subcommand)) => format!("\"{container}\").arg(\"{subcommand}\")"),
            None => format!("\"{}\"", name.to_ascii_uppercase()),
        };
        source.contains(&made)
    };
    let all = client.command_list().unwrap();
    let containers: BTreeSet<String> =
        all.iter().filter_map(|name| Some(name.split_once('|')?.0.to_owned())).collect();
    assert!(containers.contains("xinfo") && all.len() > 300, "{all:?}");
    for name in &all {
        // Help is for people, at a terminal; a container alone is no command.
        if name.ends_with("|help") || (containers.contains(name) && name != "command") {
            continue;
        }
        assert!(has_method(name) || named(name), "{name}: no method, and no reason why it has none");
    }
    for (_, names) in WITHOUT_METHOD {
        for name in *names {
            assert!(all.iter().any(|known| known == name), "there's no command {name}");
        }
    }
}

/// The client's source, without the spaces: where a command is made, its name stands in it as a text.
fn source() -> String {
    fn collect(dir: &Path, text: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // Where names stand for another reason: what is refused, and what is cached.
            if path.ends_with("src/command.rs") {
                continue;
            }
            if path.is_dir() {
                collect(&path, text);
            } else {
                let all = fs::read_to_string(path).unwrap();
                text.extend(all.lines().filter(|line| !line.trim_start().starts_with("//")));
            }
        }
    }
    let mut text = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/src"), &mut text);
    text.split_whitespace().collect()
}
