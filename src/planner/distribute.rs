//! Where rows change shards: exchanges below every node that keeps state by key.
//!
//! # Invariants
//! 1. All rows of one key of a stateful node lie on one shard.
//! 2. An insertion and its later retraction take the same way: every exchange is a function of the
//!    row.
//! 3. No exchange where rows already lie right.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::derive;
use super::plan::{
    AsOf, Distribution, Join, Lookup, Node, Op, Over, Pace, Session, Shows, TopN, Window,
};
use super::properties::Size;

type Exprs = [Arc<dyn PhysicalExpr>];

/// Puts exchanges into the plan.
pub(super) fn distribute(node: Node) -> Node {
    let Node { op, inputs, schema, .. } = node;
    if let Op::Scan(_) = op {
        return Node { op, inputs, schema, properties: node.properties };
    }
    let mut inputs: Vec<Node> = inputs.into_iter().map(distribute).collect();
    let mut hashed_by = None;
    match &op {
        op if wants_all(op) => {
            inputs = inputs.into_iter().map(single).collect();
            hashed_by = Some(vec![]);
        }
        Op::Aggregate(aggregate) => {
            let input = inputs.remove(0);
            let lies = lies_by(&input, &aggregate.group);
            hashed_by = Some(lies.clone().unwrap_or((0..aggregate.group.len()).collect()));
            inputs.push(if lies.is_some() { input } else { hash(input, &aggregate.group) });
        }
        Op::Join(Join { left_keys, right_keys, kind, .. }) => {
            (inputs, hashed_by) = pair(inputs, [left_keys, right_keys], *kind);
        }
        Op::Lookup(Lookup { left_keys, right_keys, .. })
        | Op::AsOf(AsOf { left_keys, right_keys, .. }) => {
            (inputs, hashed_by) = pair(inputs, [left_keys, right_keys], JoinType::Left);
        }
        Op::Bag(_) => {
            let (left, right) = (all_columns(&inputs[0]), all_columns(&inputs[1]));
            (inputs, hashed_by) = pair(inputs, [&left, &right], JoinType::Full);
        }
        Op::Over(Over { partition: keys, .. })
        | Op::TopN(TopN { partition: keys, .. })
        | Op::Session(Session { keys, .. }) => {
            inputs = inputs.into_iter().map(|input| by_keys(input, keys)).collect();
        }
        Op::Pace(Pace { shows: Shows::After(_), key, .. }) if !key.is_empty() => {
            let input = inputs.remove(0);
            let all = all_columns(&input);
            let keys: Vec<_> = key.iter().map(|column| Arc::clone(&all[*column])).collect();
            inputs.push(by_keys(input, &keys));
        }
        Op::Window(Window::Partitioned { keys, .. }) => {
            inputs = inputs.into_iter().map(|input| ordered(by_keys(input, keys))).collect();
        }
        Op::Window(Window::Rows { .. }) => {
            inputs = inputs.into_iter().map(|input| ordered(single(input))).collect();
            hashed_by = Some(vec![]);
        }
        Op::ToStream(_) => inputs = to_stream(inputs),
        Op::Union => inputs = inputs.into_iter().map(spread).collect(),
        Op::Scan(_)
        | Op::Values(_)
        | Op::Filter(_)
        | Op::Project(_)
        | Op::Expand(_)
        | Op::Unnest(_)
        | Op::Temporal(_)
        | Op::Window(Window::Range { .. } | Window::Current { .. } | Window::Unbounded)
        | Op::Assign(_)
        | Op::Arrange
        | Op::Stamp
        | Op::OnClose(_)
        | Op::Pace(_)
        | Op::Exchange(_) => {}
    }
    let mut node = derive::node(op, inputs, schema);
    if hashed_by.is_some() {
        node.properties.hashed_by = hashed_by;
    }
    node
}

/// What lies on one shard must not share a fragment with what lies on all.
fn spread(input: Node) -> Node {
    match &input.properties.hashed_by {
        Some(by) if by.is_empty() => {
            let all = all_columns(&input);
            hash(input, &all)
        }
        _ => input,
    }
}

/// Whether an operator has to see all rows in one place.
fn wants_all(op: &Op) -> bool {
    match op {
        Op::Aggregate(aggregate) => aggregate.group.is_empty(),
        Op::Session(session) => session.keys.is_empty(),
        Op::Pace(pace) => matches!(pace.shows, Shows::After(_)) && pace.key.is_empty(),
        Op::Over(Over { partition: keys, .. }) | Op::TopN(TopN { partition: keys, .. }) => {
            keys.is_empty()
        }
        _ => false,
    }
}

/// The columns of a node's rows as expressions.
fn all_columns(node: &Node) -> Vec<Arc<dyn PhysicalExpr>> {
    let fields = node.schema.fields().iter().enumerate();
    fields.map(|(i, f)| Arc::new(Column::new(f.name(), i)) as Arc<dyn PhysicalExpr>).collect()
}

/// Rows of one instant in an order that a window may count on.
fn ordered(input: Node) -> Node {
    if input.properties.ordered {
        return input;
    }
    let schema = Arc::clone(&input.schema);
    derive::node(Op::Arrange, vec![input], schema)
}

/// Equal rows meet on one shard, where what comes and goes at once cancels; every shard that has
/// rows hears of the ticks.
fn to_stream(inputs: Vec<Node>) -> Vec<Node> {
    let mut inputs = inputs.into_iter();
    let relation = inputs.next().expect("an operator has a relation");
    let relation = match &relation.properties.hashed_by {
        Some(_) => relation,
        None if relation.schema.fields().is_empty() => single(relation),
        None => {
            let all = all_columns(&relation);
            hash(relation, &all)
        }
    };
    let alone = relation.properties.hashed_by.as_ref().is_some_and(Vec::is_empty);
    let told = |arrivals: Node| match alone {
        true => single(arrivals),
        false => {
            let mut node = exchange(arrivals, Distribution::Broadcast, vec![]);
            node.properties.hashed_by = None;
            node
        }
    };
    let told: Vec<Node> = inputs.map(told).collect();
    std::iter::once(relation).chain(told).collect()
}

fn columns(exprs: &Exprs) -> Vec<Option<usize>> {
    exprs.iter().map(|e| e.downcast_ref::<Column>().map(Column::index)).collect()
}

/// If rows that are equal in `keys` already lie on one shard: positions within `keys` of the
/// columns by whose
/// hash they lie.
fn lies_by(input: &Node, keys: &Exprs) -> Option<Vec<usize>> {
    let by = input.properties.hashed_by.as_ref()?;
    let keys = columns(keys);
    by.iter().map(|column| keys.iter().position(|k| *k == Some(*column))).collect()
}

fn exchange(input: Node, to: Distribution, hashed_by: Vec<usize>) -> Node {
    let schema = Arc::clone(&input.schema);
    let mut node = derive::node(Op::Exchange(to), vec![input], schema);
    node.properties.hashed_by = Some(hashed_by);
    node
}

fn single(input: Node) -> Node {
    match &input.properties.hashed_by {
        Some(by) if by.is_empty() => input,
        _ => exchange(input, Distribution::Single, vec![]),
    }
}

fn hash(input: Node, keys: &Exprs) -> Node {
    let by = columns(keys).into_iter().collect::<Option<Vec<_>>>();
    let mut node = exchange(input, Distribution::Hash(keys.to_vec()), vec![]);
    node.properties.hashed_by = by;
    node
}

/// Rows of equal keys on one shard.
fn by_keys(input: Node, keys: &Exprs) -> Node {
    match lies_by(&input, keys) {
        Some(_) => input,
        None => hash(input, keys),
    }
}

/// Lays the inputs of a join, and says where its rows lie.
fn pair(
    mut inputs: Vec<Node>,
    keys: [&Vec<Arc<dyn PhysicalExpr>>; 2],
    kind: JoinType,
) -> (Vec<Node>, Option<Vec<usize>>) {
    let right = inputs.pop().expect("a join has two inputs");
    let left = inputs.pop().expect("a join has two inputs");
    let (left, right) = align(left, right, keys, kind);
    let hashed_by = joined_by(&left, &right, kind);
    (vec![left, right], hashed_by)
}

/// Lays both sides of a join by the same keys. Where one side lies by some of them, the other
/// follows.
fn align(
    left: Node,
    right: Node,
    [left_keys, right_keys]: [&Vec<Arc<dyn PhysicalExpr>>; 2],
    kind: JoinType,
) -> (Node, Node) {
    if left_keys.is_empty() {
        return meet(left, right, kind);
    }
    let pick = |keys: &Exprs, by: &[usize]| -> Vec<Arc<dyn PhysicalExpr>> {
        by.iter().map(|i| Arc::clone(&keys[*i])).collect()
    };
    match (lies_by(&left, left_keys), lies_by(&right, right_keys)) {
        (Some(l), Some(r)) if l == r => (left, right),
        (Some(l), _) if !l.is_empty() => {
            let right = hash(right, &pick(right_keys, &l));
            (left, right)
        }
        (_, Some(r)) if !r.is_empty() => {
            let left = hash(left, &pick(left_keys, &r));
            (left, right)
        }
        _ => (hash(left, left_keys), hash(right, right_keys)),
    }
}

/// Lets every row of one side meet every row of the other: the smaller one is copied to all shards,
/// unless its rows are shown by themselves, which would show them once per shard.
fn meet(left: Node, right: Node, kind: JoinType) -> (Node, Node) {
    let single_side = |node: &Node| node.properties.hashed_by.as_ref().is_some_and(Vec::is_empty);
    let preserves_left = !matches!(kind, JoinType::Inner | JoinType::Right);
    let preserves_right = matches!(kind, JoinType::Right | JoinType::Full);
    let cost = |node: &Node, other: &Node, preserved: bool| {
        let useful = !preserved && !single_side(other) && node.properties.size < Size::Unbounded;
        useful.then_some(node.properties.size)
    };
    match (cost(&left, &right, preserves_left), cost(&right, &left, preserves_right)) {
        (None, None) => (single(left), single(right)),
        (Some(l), r) if r.is_none_or(|r| l < r) => (broadcast(left), right),
        _ => (left, broadcast(right)),
    }
}

fn broadcast(input: Node) -> Node {
    let mut node = exchange(input, Distribution::Broadcast, vec![]);
    node.properties.hashed_by = None;
    node
}

/// Joined rows lie where those of a side do that is neither padded nor copied.
fn joined_by(left: &Node, right: &Node, kind: JoinType) -> Option<Vec<usize>> {
    let copied = |node: &Node| matches!(node.op, Op::Exchange(Distribution::Broadcast));
    let width = left.schema.fields().len();
    match kind {
        JoinType::Inner if copied(left) => {
            let by = right.properties.hashed_by.as_ref()?;
            Some(by.iter().map(|column| column + width).collect())
        }
        JoinType::Right => {
            let by = right.properties.hashed_by.as_ref()?;
            Some(by.iter().map(|column| column + width).collect())
        }
        JoinType::Full => left.properties.hashed_by.clone().filter(Vec::is_empty),
        _ => left.properties.hashed_by.clone(),
    }
}
