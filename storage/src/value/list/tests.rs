use super::super::tests::{loaded, small_limits, with_shaping};
use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Push(Side, Vec<u8>),
    Pop(Side, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(u64, u64),
}

impl Op {
    fn change(&self) -> ListChange<'_> {
        match self {
            Op::Push(side, value) => ListChange::Push { side: *side, value },
            Op::Pop(side, count) => ListChange::Pop { side: *side, count: *count },
            Op::Set(index, value) => ListChange::Set { index: *index, value },
            Op::Insert(index, value) => ListChange::Insert { index: *index, value },
            Op::Remove(count, value) => ListChange::Remove { count: *count, value },
            Op::Trim(start, len) => ListChange::Trim { start: *start, len: *len },
        }
    }

    fn apply_to(&self, model: &mut Vec<Vec<u8>>) {
        let index = |number: &u64| (*number as usize).min(model.len());
        match self {
            Op::Push(Side::Left, value) => model.insert(0, value.clone()),
            Op::Push(Side::Right, value) => model.push(value.clone()),
            Op::Pop(Side::Left, count) => drop(model.drain(..index(count))),
            Op::Pop(Side::Right, count) => model.truncate(model.len() - index(count)),
            Op::Set(at, value) => {
                if let Some(element) = model.get_mut(*at as usize) {
                    element.clone_from(value);
                }
            }
            Op::Insert(at, value) if *at as usize <= model.len() => model.insert(*at as usize, value.clone()),
            Op::Insert(..) => {}
            Op::Remove(count, value) => {
                let mut left = if *count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
                let mut keep = |element: &Vec<u8>| {
                    let goes = element == value && left > 0;
                    left -= usize::from(goes);
                    !goes
                };
                if *count < 0 {
                    model.reverse();
                    model.retain(&mut keep);
                    model.reverse();
                } else {
                    model.retain(keep);
                }
            }
            Op::Trim(start, len) => {
                let start = index(start);
                let end = start.saturating_add(*len as usize).min(model.len());
                *model = model[start..end].to_vec();
            }
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let side = || prop_oneof![Just(Side::Left), Just(Side::Right)];
    let value = || {
        prop_oneof![
            6 => (0_u32..6).prop_map(|n| n.to_string().into_bytes()),
            2 => prop::collection::vec(any::<u8>(), 0..12),
            1 => (0_usize..9000).prop_map(|len| vec![b'x'; len]),
        ]
    };
    let index = || 0_u64..300;
    prop_oneof![
        12 => (side(), value()).prop_map(|(side, value)| Op::Push(side, value)),
        2 => (side(), 0_u64..8).prop_map(|(side, count)| Op::Pop(side, count)),
        3 => (index(), value()).prop_map(|(at, value)| Op::Set(at, value)),
        6 => (index(), value()).prop_map(|(at, value)| Op::Insert(at, value)),
        1 => (-3_i64..4, value()).prop_map(|(count, value)| Op::Remove(count, value)),
        1 => (0_u64..5, 100_u64..400).prop_map(|(start, len)| Op::Trim(start, len)),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_vector(
        ops in prop::collection::vec(op(), 0..400),
        piece in prop_oneof![Just(1_i64), Just(3), Just(-1), Just(-2)],
    ) {
        let mut limits = small_limits();
        limits.list_piece = piece;
        let mut list = List::new();
        let mut model = Vec::new();
        for op in &ops {
            let changed = with_shaping(&limits, |shaping| list.apply(op.change(), shaping));
            let before = model.clone();
            op.apply_to(&mut model);
            prop_assert_eq!(changed > 0, before != model || matches!(op, Op::Set(at, _) if (*at as usize) < model.len()));
            prop_assert_eq!(list.len(), model.len());
        }
        let all: Vec<Vec<u8>> = list.iter_from(0).map(|element| element.to_vec()).collect();
        prop_assert_eq!(&all, &model);
        prop_assert!(list.iter_back().map(|element| element.to_vec()).eq(model.iter().rev().cloned()));
        for (index, element) in model.iter().enumerate() {
            prop_assert_eq!(list.get(index).map(|found| found.to_vec()), Some(element.clone()));
            prop_assert_eq!(list.iter_from(index).next().map(|found| found.to_vec()), Some(element.clone()));
        }
        prop_assert_eq!(list.get(model.len()), None);
        prop_assert_eq!(list.iter_from(model.len()).count(), 0);
        if let Form::Large(pieces) = &list.0 {
            pieces.check(PieceLimit::new(piece));
        }
        if !model.is_empty() {
            let copy = loaded(crate::Value::List(&list), 7, &limits);
            let super::super::Collection::List(copied) = &copy else { unreachable!() };
            prop_assert!(copied.iter_from(0).map(|element| element.to_vec()).eq(model.iter().cloned()));
        }
        while !list.is_freed() {
            list.free(2);
        }
    }
}

#[test]
fn a_list_is_small_again_when_it_has_shrunk_to_half() {
    let limits = crate::ValueLimits { list_piece: 4, ..small_limits() };
    let mut list = List::new();
    with_shaping(&limits, |shaping| {
        for _ in 0..5 {
            list.apply(ListChange::Push { side: Side::Right, value: b"x" }, shaping);
        }
        assert_eq!(list.encoding(), "quicklist");
        list.apply(ListChange::Pop { side: Side::Right, count: 2 }, shaping);
        assert_eq!(list.encoding(), "quicklist");
        list.apply(ListChange::Pop { side: Side::Left, count: 1 }, shaping);
        assert_eq!(list.encoding(), "listpack");
    });
}

#[test]
fn what_is_trimmed_off_goes_to_the_garbage_by_groups() {
    let limits = small_limits();
    let mut list = List::new();
    with_shaping(&limits, |shaping| {
        for number in 0..2_000_000_u32 {
            list.apply(ListChange::Push { side: Side::Right, value: &number.to_le_bytes() }, shaping);
        }
        list.apply(ListChange::Trim { start: 1_999_990, len: 5 }, shaping);
        let dropped: usize = shaping.garbage.iter().map(super::super::Collection::len).sum();
        assert!(dropped > 1_700_000, "only {dropped} elements are freed slice by slice");
    });
    assert_eq!(list.len(), 5);
    assert_eq!(list.get(0).as_deref(), Some(&1_999_990_u32.to_le_bytes()[..]));
}
