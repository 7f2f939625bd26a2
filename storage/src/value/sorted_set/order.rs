//! The order of a large sorted set: a B+ tree that counts, so that ranks and elements by rank cost O(log n).
//!
//! - Leaves hold scores and the numbers of slots (see `slots`); members are looked at only where scores are equal.
//! - An inner node knows of each child how many items are below it, and the first of them.
//! - A node that is not the root is never empty. Nodes that have become small join a neighbour where both fit one node; a node
//!   may stay small beside a full one, which costs memory for a while and nothing else.
//! - A node that is full at the very end of the order is not halved: items that come in order leave full nodes behind.

use std::cmp::Ordering;

/// Items of a leaf: 12 bytes each, so a leaf is about twelve cache lines, of which a search touches a few.
const LEAF_ITEMS_MAX: usize = 64;
/// Children of an inner node.
const CHILDREN_MAX: usize = 32;
/// A node with less than a quarter looks for a neighbour to join.
const SMALL_DIVISOR: usize = 4;

/// A member's place in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) score: f64,
    /// The slot that has the member.
    pub(super) slot: u32,
}

/// Where a member belongs: by score, then by its bytes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) score: f64,
    pub(super) member: &'a [u8],
}

impl Place<'_> {
    /// Whether an item stands before this place.
    fn is_after<'s>(&self, item: Item, member_of: &impl Fn(u32) -> &'s [u8]) -> bool {
        match compare_scores(item.score, self.score) {
            Ordering::Less => true,
            Ordering::Equal => member_of(item.slot) < self.member,
            Ordering::Greater => false,
        }
    }
}

/// The order of scores. None is NaN.
pub(super) fn compare_scores(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

struct Leaf {
    len: usize,
    scores: [f64; LEAF_ITEMS_MAX],
    slots: [u32; LEAF_ITEMS_MAX],
}

impl Leaf {
    fn new() -> Box<Leaf> {
        Box::new(Leaf { len: 0, scores: [0.0; LEAF_ITEMS_MAX], slots: [0; LEAF_ITEMS_MAX] })
    }

    fn item(&self, at: usize) -> Item {
        Item { score: self.scores[at], slot: self.slots[at] }
    }

    fn partition(&self, before: &impl Fn(Item) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(self.item(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn insert(&mut self, at: usize, item: Item) {
        self.scores.copy_within(at..self.len, at + 1);
        self.slots.copy_within(at..self.len, at + 1);
        (self.scores[at], self.slots[at]) = (item.score, item.slot);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.scores.copy_within(at + 1..self.len, at);
        self.slots.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    fn append(&mut self, other: &Leaf, from: usize) {
        let count = other.len - from;
        self.scores[self.len..self.len + count].copy_from_slice(&other.scores[from..other.len]);
        self.slots[self.len..self.len + count].copy_from_slice(&other.slots[from..other.len]);
        self.len += count;
    }
}

struct Child {
    first: Item,
    count: usize,
    node: Node,
}

impl Child {
    fn new(node: Node) -> Child {
        Child { first: node.first(), count: node.count(), node }
    }
}

enum Node {
    Leaf(Box<Leaf>),
    /// Has room for one child more than it may keep, from the beginning: so all inner nodes take the same memory.
    Inner(Vec<Child>),
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    leaves: usize,
    inners: usize,
}

impl Tally {
    fn add(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves += 1,
            Node::Inner(_) => self.inners += 1,
        }
    }

    fn remove(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

impl Node {
    fn inner(children: impl IntoIterator<Item = Child>) -> Node {
        let mut all = Vec::with_capacity(CHILDREN_MAX + 1);
        all.extend(children);
        Self::Inner(all)
    }

    /// The first item below a node that is not empty.
    fn first(&self) -> Item {
        match self {
            Self::Leaf(leaf) => leaf.item(0),
            Self::Inner(children) => children[0].first,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len,
            Self::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.len < LEAF_ITEMS_MAX / SMALL_DIVISOR,
            Self::Inner(children) => children.len() < CHILDREN_MAX / SMALL_DIVISOR,
        }
    }

    /// Adds an item. Returns a new right neighbour if the node had to be split. `at_end`: nothing of the tree is right of the node.
    fn insert(
        &mut self,
        item: Item,
        before: &impl Fn(Item) -> bool,
        at_end: bool,
        tally: &mut Tally,
    ) -> Option<Node> {
        match self {
            Self::Leaf(leaf) => insert_into_leaf(leaf, item, before, at_end),
            Self::Inner(children) => {
                let index = children.partition_point(|child| before(child.first)).saturating_sub(1);
                let is_last = at_end && index + 1 == children.len();
                let child = &mut children[index];
                let split = child.node.insert(item, before, is_last, tally);
                child.first = child.node.first();
                child.count += 1;
                let new = split?;
                tally.add(&new);
                let new = Child::new(new);
                child.count -= new.count;
                children.insert(index + 1, new);
                if children.len() <= CHILDREN_MAX {
                    return None;
                }
                let keep = if is_last { CHILDREN_MAX } else { children.len() / 2 };
                Some(Self::inner(children.drain(keep..)))
            }
        }
    }

    /// Removes the item that stands first among those not `before`, which must be there.
    fn remove(&mut self, before: &impl Fn(Item) -> bool, slot: u32, tally: &mut Tally) {
        match self {
            Self::Leaf(leaf) => {
                let at = leaf.partition(before);
                assert!(at < leaf.len && leaf.slots[at] == slot, "the order has lost a member");
                leaf.remove(at);
            }
            Self::Inner(children) => {
                let index = child_of(children, before, slot);
                let child = &mut children[index];
                child.node.remove(before, slot, tally);
                child.count -= 1;
                if child.count == 0 {
                    tally.remove(&children.remove(index).node);
                    return;
                }
                child.first = child.node.first();
                if child.node.is_small() {
                    join(children, index, tally);
                }
            }
        }
    }
}

/// The child that has an item: the last whose first item is before it, or is it.
fn child_of(children: &[Child], before: &impl Fn(Item) -> bool, slot: u32) -> usize {
    let next = children.partition_point(|child| before(child.first));
    if children.get(next).is_some_and(|child| child.first.slot == slot) {
        next
    } else {
        next.saturating_sub(1)
    }
}

fn insert_into_leaf(
    leaf: &mut Leaf,
    item: Item,
    before: &impl Fn(Item) -> bool,
    at_end: bool,
) -> Option<Node> {
    let at = leaf.partition(before);
    if leaf.len < LEAF_ITEMS_MAX {
        leaf.insert(at, item);
        return None;
    }
    let mut right = Leaf::new();
    let keep = if at_end && at == leaf.len { leaf.len } else { LEAF_ITEMS_MAX / 2 };
    right.append(leaf, keep);
    leaf.len = keep;
    if at < keep || at == keep && keep < LEAF_ITEMS_MAX {
        leaf.insert(at, item);
    } else {
        right.insert(at - keep, item);
    }
    Some(Node::Leaf(right))
}

/// Joins a child with a neighbour if both fit one node.
fn join(children: &mut Vec<Child>, index: usize, tally: &mut Tally) {
    for left in [index, index.wrapping_sub(1)] {
        let Some([a, b]) =
            children.get_mut(left..left.saturating_add(2)).and_then(|pair| pair.first_chunk_mut())
        else {
            continue;
        };
        match (&mut a.node, &mut b.node) {
            (Node::Leaf(a), Node::Leaf(b)) if a.len + b.len <= LEAF_ITEMS_MAX => a.append(b, 0),
            (Node::Inner(a), Node::Inner(b)) if a.len() + b.len() <= CHILDREN_MAX => a.append(b),
            _ => continue,
        }
        a.count += b.count;
        tally.remove(&children.remove(left + 1).node);
        return;
    }
}

/// See the module.
pub(super) struct Order {
    root: Node,
    len: usize,
    /// Of the root and below, and of `nodes`.
    tally: Tally,
    /// Nodes that are to be freed, each with what is below it.
    nodes: Vec<Node>,
}

impl Order {
    pub(super) fn new() -> Order {
        let tally = Tally { leaves: 1, inners: 0 };
        Order { root: Node::Leaf(Leaf::new()), len: 0, tally, nodes: Vec::new() }
    }

    /// Adds an item, which is not there yet.
    pub(super) fn insert<'s>(&mut self, item: Item, place: Place<'_>, member_of: &impl Fn(u32) -> &'s [u8]) {
        let before = |other: Item| place.is_after(other, member_of);
        if let Some(right) = self.root.insert(item, &before, true, &mut self.tally) {
            self.tally.add(&right);
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::new()));
            self.root = Node::inner([Child::new(left), Child::new(right)]);
            self.tally.add(&self.root);
        }
        self.len += 1;
    }

    /// Removes an item, which must be there.
    pub(super) fn remove<'s>(&mut self, slot: u32, place: Place<'_>, member_of: &impl Fn(u32) -> &'s [u8]) {
        self.root.remove(&|other| place.is_after(other, member_of), slot, &mut self.tally);
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root {
            self.root = match children.len() {
                0 => {
                    self.tally.leaves += 1;
                    Node::Leaf(Leaf::new())
                }
                1 => children.swap_remove(0).node,
                _ => break,
            };
            self.tally.inners -= 1;
        }
    }

    /// Another slot has the member at a place from now on.
    pub(super) fn renumber<'s>(
        &mut self,
        from: u32,
        to: u32,
        place: Place<'_>,
        member_of: &impl Fn(u32) -> &'s [u8],
    ) {
        let before = |other: Item| place.is_after(other, member_of);
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let at = leaf.partition(&before);
                    assert!(at < leaf.len && leaf.slots[at] == from, "the order has lost a member");
                    leaf.slots[at] = to;
                    return;
                }
                Node::Inner(children) => {
                    let index = child_of(children, &before, from);
                    let child = &mut children[index];
                    if child.first.slot == from {
                        child.first.slot = to;
                    }
                    node = &mut child.node;
                }
            }
        }
    }

    /// How many items, from the first on, are `before`: which must be true up to some item and false from there on.
    pub(super) fn partition(&self, before: &impl Fn(Item) -> bool) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.partition(before),
                Node::Inner(children) => {
                    let Some(index) = children.partition_point(|child| before(child.first)).checked_sub(1)
                    else {
                        return rank;
                    };
                    rank += children[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &children[index].node;
                }
            }
        }
    }

    /// How many items stand before a place.
    pub(super) fn rank<'s>(&self, place: Place<'_>, member_of: &impl Fn(u32) -> &'s [u8]) -> usize {
        self.partition(&|item| place.is_after(item, member_of))
    }

    /// The leaf that has a rank, which must be below the length, and the rank of its first item.
    fn leaf_at(&self, rank: usize) -> (&Leaf, usize) {
        let mut node = &self.root;
        let mut base = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, base),
                Node::Inner(children) => {
                    let mut index = 0;
                    while rank - base >= children[index].count {
                        base += children[index].count;
                        index += 1;
                    }
                    node = &children[index].node;
                }
            }
        }
    }

    /// Items by rank, `start..end`; goes both ways.
    pub(super) fn iter(&self, start: usize, end: usize) -> Iter<'_> {
        let end = end.min(self.len);
        Iter { order: self, front: start.min(end), back: end, front_leaf: None, back_leaf: None }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.tally.leaves * size_of::<Leaf>()
            + self.tally.inners * (CHILDREN_MAX + 1) * size_of::<Child>()
            + self.nodes.capacity() * size_of::<Node>()
    }

    /// Frees up to `budget` nodes of an order that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, mut budget: usize) -> usize {
        if let Node::Inner(children) = &mut self.root {
            self.nodes.extend(children.drain(..).map(|child| child.node));
            self.root = Node::Leaf(Leaf::new());
            self.tally.inners -= 1;
            self.tally.leaves += 1;
        }
        while budget > 0
            && let Some(node) = self.nodes.pop()
        {
            budget -= 1;
            self.tally.remove(&node);
            if let Node::Inner(children) = node {
                self.nodes.extend(children.into_iter().map(|child| child.node));
            }
        }
        budget
    }

    pub(super) fn is_freed(&self) -> bool {
        matches!(self.root, Node::Leaf(_)) && self.nodes.is_empty()
    }

    /// What is counted as nodes come and go is what a look at all of them finds.
    #[cfg(test)]
    pub(super) fn check_tally(&self) {
        fn add(tally: &mut Tally, node: &Node) {
            tally.add(node);
            if let Node::Inner(children) = node {
                assert_eq!(children.capacity(), CHILDREN_MAX + 1);
                for child in children {
                    add(tally, &child.node);
                }
            }
        }
        let mut found = Tally::default();
        add(&mut found, &self.root);
        self.nodes.iter().for_each(|node| add(&mut found, node));
        assert_eq!(found, self.tally);
    }
}

/// Items in order. A leaf is found once for all its items.
pub(super) struct Iter<'a> {
    order: &'a Order,
    front: usize,
    back: usize,
    front_leaf: Option<(&'a Leaf, usize)>,
    back_leaf: Option<(&'a Leaf, usize)>,
}

impl<'a> Iter<'a> {
    fn item(order: &'a Order, rank: usize, leaf: &mut Option<(&'a Leaf, usize)>) -> Item {
        match leaf {
            Some((leaf, base)) if rank >= *base && rank - *base < leaf.len => leaf.item(rank - *base),
            _ => {
                let (found, base) = order.leaf_at(rank);
                *leaf = Some((found, base));
                found.item(rank - base)
            }
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.front >= self.back {
            return None;
        }
        self.front += 1;
        Some(Self::item(self.order, self.front - 1, &mut self.front_leaf))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.back - self.front, Some(self.back - self.front))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Item> {
        if self.front >= self.back {
            return None;
        }
        self.back -= 1;
        Some(Self::item(self.order, self.back, &mut self.back_leaf))
    }
}
