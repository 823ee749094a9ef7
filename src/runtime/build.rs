//! Plans to tasks: where the two towers meet.
//!
//! A plan is cut at its exchanges into fragments. A fragment's nodes become the stages of one task
//! per shard,
//! inputs first; the task of a fragment that gets all rows on one shard exists once.

use std::sync::Arc;

use super::Result;
use super::errors::ErrorLog;
use super::exchange::{Sender, Split};
use super::hub::JobSpec;
use super::job::{Entry, Job, JobId, Reading, TICK, Watch, split_of};
use super::operator::{operator, order};
use super::pool::Ready;
use super::publication::Publication;
use super::stage::{Feed, PortState, Stage};
use super::task::{Supervisor, Task};
use crate::planner::plan::{Node, Op, Plan, Scan, ScanKind};

/// Builds queries.
pub struct Builder {
    /// Number of shards.
    pub shards: usize,
    /// Most rows per delta that enters a query.
    pub batch_rows: usize,
    /// The workers' queue.
    pub ready: Arc<Ready>,
    /// Where rows that fail are reported.
    pub errors: Arc<ErrorLog>,
}

/// A group of channels of a fragment's tasks.
enum Group {
    /// One channel, from the hub or another query.
    Entry(Reading),
    /// One channel per task of another fragment.
    Edge(usize),
}

/// A node of a fragment and where its inputs come from.
struct Placed<'a> {
    node: &'a Node,
    ports: Vec<Port>,
}

#[derive(Clone, Copy)]
enum Port {
    Group(usize),
    Stage(usize),
}

/// A piece of the plan between exchanges.
struct Fragment<'a> {
    stages: Vec<Placed<'a>>,
    groups: Vec<Group>,
    /// How rows choose among the tasks of the fragment that reads this one; `None` for the result.
    split: Option<Split>,
}

/// All fragments; a fragment's inputs have greater numbers.
struct Fragments<'a> {
    list: Vec<Fragment<'a>>,
}

impl<'a> Fragments<'a> {
    fn cut(plan: &'a Plan) -> Self {
        let mut fragments = Self { list: Vec::new() };
        fragments.fragment(&plan.root, None);
        fragments
    }

    fn fragment(&mut self, root: &'a Node, split: Option<Split>) -> usize {
        let number = self.list.len();
        self.list.push(Fragment { stages: Vec::new(), groups: Vec::new(), split });
        self.place(number, root);
        number
    }

    fn place(&mut self, fragment: usize, node: &'a Node) -> Port {
        let mut ports: Vec<Port> = Vec::new();
        match &node.op {
            Op::Exchange(distribution) => {
                let from = self.fragment(&node.inputs[0], Some(split_of(distribution)));
                let port = self.group(fragment, Group::Edge(from));
                return port;
            }
            Op::Scan(scan) => {
                let Scan { object, kind, seq, late, .. } = *scan;
                let append_only = node.properties.append_only;
                let reading = Reading { object, kind, append_only, seq, late };
                ports.push(self.group(fragment, Group::Entry(reading)));
            }
            Op::Values(_) => {
                let (kind, append_only, seq, late) = (ScanKind::Table, false, false, None);
                let reading = Reading { object: TICK, kind, append_only, seq, late };
                ports.push(self.group(fragment, Group::Entry(reading)));
            }
            _ => {
                for input in &node.inputs {
                    let port = self.place(fragment, input);
                    ports.push(port);
                }
            }
        }
        let stages = &mut self.list[fragment].stages;
        stages.push(Placed { node, ports });
        Port::Stage(stages.len() - 1)
    }

    fn group(&mut self, fragment: usize, group: Group) -> Port {
        let groups = &mut self.list[fragment].groups;
        groups.push(group);
        Port::Group(groups.len() - 1)
    }

    /// Number of tasks of a fragment: one if all it reads comes to one shard.
    fn width(&self, fragment: usize, shards: usize) -> usize {
        let single = |group: &Group| match group {
            Group::Entry(reading) => reading.object == TICK,
            Group::Edge(from) => matches!(self.list[*from].split, Some(Split::Single)),
        };
        if self.list[fragment].groups.iter().all(single) { 1 } else { shards }
    }
}

/// Number of tasks that make a plan's result.
pub fn result_shards(plan: &Plan, shards: usize) -> usize {
    Fragments::cut(plan).width(0, shards)
}

impl Builder {
    /// Builds a query whose result goes to `publication`.
    pub fn job(
        &self,
        id: JobId,
        spec: &JobSpec<'_>,
        publication: Arc<Publication>,
    ) -> Result<Arc<Job>> {
        let errors = Arc::clone(&self.errors);
        let watch = Watch::new(spec.name, spec.fail_on_error, Arc::clone(&publication), errors);
        let fragments = Fragments::cut(spec.plan);
        let mut tasks: Vec<Vec<Arc<Task>>> = Vec::new();
        let mut entries = Vec::new();
        for number in 0..fragments.list.len() {
            let width = fragments.width(number, self.shards);
            let mut of_fragment = Vec::with_capacity(width);
            for shard in 0..width {
                let result = || Sender::Result { publication: Arc::clone(&publication), shard };
                let sender = self.sender(&fragments, number, shard, &tasks).unwrap_or_else(result);
                let (channels, stages) = self.stages(&fragments, number, shard, spec.plan)?;
                let supervisor = Arc::clone(&watch) as Arc<dyn Supervisor>;
                let ready = Arc::clone(&self.ready);
                of_fragment.push(Task::new(channels, stages, sender, ready, supervisor));
            }
            let mut channel = 0;
            for group in &fragments.list[number].groups {
                if let Group::Entry(reading) = *group {
                    entries.push(Entry { reading, targets: of_fragment.clone(), channel });
                }
                channel += self.channels(&fragments, group);
            }
            tasks.push(of_fragment);
        }
        let tasks = tasks.into_iter().flatten().collect();
        Ok(Job::new(id, spec.oid, (entries, tasks), watch, self.batch_rows))
    }

    fn channels(&self, fragments: &Fragments<'_>, group: &Group) -> usize {
        match group {
            Group::Entry(_) => 1,
            Group::Edge(from) => fragments.width(*from, self.shards),
        }
    }

    /// Where a task's output goes: to the tasks of the fragment that reads it, which are built
    /// before;
    /// `None` is the query's result.
    fn sender(
        &self,
        fragments: &Fragments<'_>,
        number: usize,
        shard: usize,
        tasks: &[Vec<Arc<Task>>],
    ) -> Option<Sender> {
        let split = fragments.list[number].split.as_ref()?;
        for (reader, fragment) in fragments.list[..number].iter().enumerate() {
            let mut channel = shard;
            for group in &fragment.groups {
                if matches!(group, Group::Edge(from) if *from == number) {
                    let targets = tasks[reader].clone();
                    return Some(Sender::Tasks { targets, channel, split: split.clone() });
                }
                channel += self.channels(fragments, group);
            }
        }
        unreachable!("a fragment that is not the result has a reader")
    }

    /// The operators of a task, and the number of its channels.
    fn stages(
        &self,
        fragments: &Fragments<'_>,
        number: usize,
        shard: usize,
        plan: &Plan,
    ) -> Result<(usize, Vec<Stage>)> {
        let fragment = &fragments.list[number];
        let mut first = Vec::with_capacity(fragment.groups.len());
        let mut channels = 0;
        for group in &fragment.groups {
            let count = self.channels(fragments, group);
            first.push(channels..channels + count);
            channels += count;
        }
        let mut stages = Vec::with_capacity(fragment.stages.len());
        for placed in &fragment.stages {
            let node = placed.node;
            let ports = placed.ports.iter().enumerate().map(|(i, port)| {
                let feed = match port {
                    Port::Group(group) => Feed::Channels(first[*group].clone()),
                    Port::Stage(stage) => Feed::Stage(*stage),
                };
                let (timeless, schema) = match node.inputs.get(i) {
                    Some(input) => (input.properties.timeless, Arc::clone(&input.schema)),
                    None => (node.properties.timeless, Arc::clone(&node.schema)),
                };
                PortState::new(feed, timeless, schema)
            });
            let ports = ports.collect();
            stages.push(Stage::new(operator(node, shard)?, ports, order(node, plan.clock)));
        }
        Ok((channels, stages))
    }
}
