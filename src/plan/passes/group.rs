//! Runs the edges that leave one node in groups: the equal instructions of E edges become one instruction on E times as
//! many channels.
//!
//! A group begins with convolutions of one kernel shape that read one value: depthwise ones on as many copies of it, on
//! images that are small enough; ordinary ones, as those of the factorized reductions, as one with all their kernels.
//! It continues through ReLUs, padding, convolutions, batch norms and concatenations with other groups of the same edges while
//! all its members do the same, and ends where their outputs go to different nodes. Weights and running statistics of a
//! group are contiguous, so that the group's kernel is one view of the weight vector.

use std::collections::{HashMap, HashSet};

use super::editor::{Editor, readers};
use super::order::reorder;
use crate::error::Result;
use crate::plan::{Fill, Instruction, Module, Op, Plan, Scale, Scope, Shape, StatisticId, ValueId, WeightId};

/// Groups depthwise convolutions on images of at most `largest` pixels, and ordinary convolutions everywhere.
pub(super) fn apply(plan: &Plan, largest: usize) -> Result<Plan> {
    let mut grouping = Grouping {
        plan,
        largest,
        readers: readers(plan),
        groups: Vec::new(),
        group_of: HashMap::new(),
        repeated: HashMap::new(),
        done: HashSet::new(),
        weights: Vec::new(),
        statistics: Vec::new(),
    };
    let rewritten = Editor::rewrite(plan, |editor, instruction| grouping.instruction(editor, instruction))?;
    reorder(rewritten, &grouping.weights, &grouping.statistics)
}

/// The cell of an instruction that belongs to an edge.
fn cell_of_edge(instruction: &Instruction) -> Option<Module> {
    let scope = &instruction.scope;
    (!scope.edges().is_empty()).then_some(scope.module)
}

/// Values that are computed as one.
struct Group {
    together: ValueId,
    members: Vec<ValueId>,
    /// The slices of members that are read alone.
    slices: HashMap<ValueId, ValueId>,
}

struct Grouping<'a> {
    plan: &'a Plan,
    largest: usize,
    readers: HashMap<ValueId, Vec<&'a Instruction>>,
    groups: Vec<Group>,
    /// The group that each grouped value belongs to.
    group_of: HashMap<ValueId, usize>,
    repeated: HashMap<(ValueId, usize), ValueId>,
    /// Outputs of instructions that were written with another one.
    done: HashSet<ValueId>,
    /// Runs of weights and of statistics that must be contiguous.
    weights: Vec<Vec<WeightId>>,
    statistics: Vec<Vec<StatisticId>>,
}

impl<'a> Grouping<'a> {
    fn instruction(&mut self, editor: &mut Editor, instruction: &'a Instruction) -> Result<()> {
        if self.done.contains(&instruction.output) {
            return Ok(());
        }
        if let Some(team) = self.team(editor, instruction)? {
            return self.together(editor, &team);
        }
        let inputs = instruction.inputs.iter().map(|input| self.alone(editor, *input, &instruction.scope));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        editor.define(instruction.op.clone(), inputs, &instruction.scope, instruction.output)
    }

    /// The instructions that can be written with this one, itself included: at least two.
    fn team(&self, editor: &Editor, instruction: &'a Instruction) -> Result<Option<Vec<&'a Instruction>>> {
        if let Op::Concat { blocks: 1 } = instruction.op {
            return Ok(self.joint(instruction));
        }
        let ([input], Some(like)) = (&instruction.inputs[..], self.like(instruction)) else { return Ok(None) };
        let Some(group) = self.group_of.get(input) else { return self.first_team(editor, instruction, *input, &like) };
        let follower = |member: &ValueId| -> Option<&'a Instruction> {
            let mut alike = self.readers.get(member)?.iter().copied().filter(|it| self.is_alike(it, &like));
            let first = alike.next()?;
            alike.next().is_none().then_some(first)
        };
        Ok(self.groups[*group].members.iter().map(follower).collect())
    }

    /// The convolutions of one value with which a group begins.
    fn first_team(
        &self,
        editor: &Editor,
        instruction: &Instruction,
        input: ValueId,
        like: &Like,
    ) -> Result<Option<Vec<&'a Instruction>>> {
        let Like::Conv { depthwise, .. } = like else { return Ok(None) };
        // A cell of one channel has preprocessings that look like depthwise convolutions.
        let Some(cell) = cell_of_edge(instruction) else { return Ok(None) };
        let is_member = |it: &&Instruction| self.is_alike(it, like) && cell_of_edge(it) == Some(cell);
        let team: Vec<&Instruction> = self.readers[&input].iter().copied().filter(is_member).collect();
        if team.len() < 2 {
            return Ok(None);
        }
        // One ordinary convolution with more kernels is faster everywhere.
        let grouped =
            if *depthwise { pixels(editor.shape(input)?) <= self.largest } else { is_ordinary(instruction, like) };
        Ok(grouped.then_some(team))
    }

    /// Whether an instruction does the same as another one, and has not been written yet.
    fn is_alike(&self, instruction: &Instruction, like: &Like) -> bool {
        let output = &instruction.output;
        !self.done.contains(output) && self.like(instruction).as_ref() == Some(like)
    }

    /// The concatenations of the members of several groups of the same edges, edge by edge.
    fn joint(&self, instruction: &Instruction) -> Option<Vec<&'a Instruction>> {
        let groups = instruction.inputs.iter().map(|input| self.group_of.get(input).map(|group| &self.groups[*group]));
        let groups = groups.collect::<Option<Vec<_>>>()?;
        let edges = groups.first()?.members.len();
        let of_edge = |edge: usize| -> Option<&'a Instruction> {
            let inputs: Vec<ValueId> = groups.iter().filter_map(|group| group.members.get(edge).copied()).collect();
            let mut joins = self.readers.get(inputs.first()?)?.iter().copied().filter(|reader| reader.inputs == inputs);
            joins.find(|reader| reader.op == instruction.op && !self.done.contains(&reader.output))
        };
        groups.iter().all(|group| group.members.len() == edges).then_some(())?;
        (0..edges).map(of_edge).collect()
    }

    /// Writes the members of a team as one.
    fn together(&mut self, editor: &mut Editor, team: &[&Instruction]) -> Result<()> {
        let (first, edges) = (team[0], team.len());
        let scope = team[1..].iter().fold(first.scope.clone(), |scope, member| scope.joined(&member.scope));
        let begins = !self.group_of.contains_key(&first.inputs[0]);
        // A group that begins with ordinary convolutions reads the value itself, not copies of it.
        let stacked = begins && self.like(first).is_some_and(|like| is_ordinary(first, &like));
        let mut values = Vec::with_capacity(first.inputs.len());
        for input in &first.inputs {
            values.push(match self.group_of.get(input) {
                Some(group) => self.groups[*group].together,
                None if stacked => *input,
                None => self.repeat(editor, *input, edges, &scope)?,
            });
        }
        let op = self.grouped(team, stacked);
        let together = editor.push(op, values, &scope)?;
        let members: Vec<ValueId> = team.iter().map(|member| member.output).collect();
        self.group_of.extend(members.iter().map(|member| (*member, self.groups.len())));
        self.done.extend(&members);
        self.groups.push(Group { together, members, slices: HashMap::new() });
        Ok(())
    }

    /// The operation of a team as one.
    fn grouped(&mut self, team: &[&Instruction], stacked: bool) -> Op {
        let edges = team.len();
        match &team[0].op {
            Op::Conv { stride, padding, dilation, groups, .. } => {
                let weight = |member: &&Instruction| match member.op {
                    Op::Conv { weight, .. } => Some(weight),
                    _ => None,
                };
                let weights: Vec<WeightId> = team.iter().filter_map(weight).collect();
                let (weight, groups) = (weights[0], if stacked { 1 } else { groups * edges });
                self.weights.push(weights);
                Op::Conv { weight, members: edges, stride: *stride, padding: *padding, dilation: *dilation, groups }
            }
            Op::BatchNorm { statistic, scale, .. } => {
                let (statistics, terms) = norms(team.iter().map(|member| &member.op));
                self.statistics.push(statistics);
                let scale = match scale {
                    Scale::Mixing { alpha, .. } => Scale::Mixing { alpha: *alpha, terms },
                    _ => Scale::One,
                };
                Op::BatchNorm { statistic: *statistic, members: edges, aliases: Vec::new(), scale }
            }
            Op::Concat { .. } => Op::Concat { blocks: edges },
            op => op.clone(),
        }
    }

    /// A value repeated once per edge that leaves it.
    fn repeat(&mut self, editor: &mut Editor, value: ValueId, times: usize, scope: &Scope) -> Result<ValueId> {
        if let Some(repeated) = self.repeated.get(&(value, times)) {
            return Ok(*repeated);
        }
        let repeated = editor.push(Op::Repeat { times }, vec![value], scope)?;
        self.repeated.insert((value, times), repeated);
        Ok(repeated)
    }

    /// The value alone: a slice of its group, if it belongs to one.
    fn alone(&mut self, editor: &mut Editor, value: ValueId, scope: &Scope) -> Result<ValueId> {
        let Some(group) = self.group_of.get(&value) else { return Ok(value) };
        let group = &mut self.groups[*group];
        if let Some(slice) = group.slices.get(&value) {
            return Ok(*slice);
        }
        let index = group.members.iter().position(|member| *member == value).unwrap_or(0);
        let slice = editor.push(Op::Slice { index, of: group.members.len() }, vec![group.together], scope)?;
        group.slices.insert(value, slice);
        Ok(slice)
    }

    /// The properties that instructions must share to be written as one; `None` for instructions that stay alone.
    fn like(&self, instruction: &Instruction) -> Option<Like> {
        match &instruction.op {
            Op::Relu => Some(Like::Relu),
            Op::Pad { left, fill } => Some(Like::Pad(*left, *fill)),
            Op::Conv { weight, members: 1, stride, padding, dilation, groups } => {
                let kernel = self.plan.weight_shape(*weight).to_vec();
                let depthwise = kernel.first() == Some(groups) && kernel.get(1) == Some(&1);
                Some(Like::Conv { kernel, stride: *stride, padding: *padding, dilation: *dilation, depthwise })
            }
            Op::BatchNorm { members: 1, aliases, scale, .. } if aliases.is_empty() => match scale {
                Scale::One => Some(Like::Norm(None)),
                Scale::Mixing { alpha, .. } => Some(Like::Norm(Some(alpha.0))),
                Scale::Affine { .. } => None,
            },
            _ => None,
        }
    }
}

/// The number of pixels of an image, also if it is split into phases.
fn pixels(shape: &Shape) -> usize {
    match shape.0[..] {
        [_, height, width] => height * width,
        [phases, _, height, width] => phases * height * width,
        _ => 0,
    }
}

/// Whether an instruction is a convolution of all channels at once.
fn is_ordinary(instruction: &Instruction, like: &Like) -> bool {
    matches!((&instruction.op, like), (Op::Conv { groups: 1, .. }, Like::Conv { depthwise: false, .. }))
}

/// The statistics and mixing terms of several batch norms, in order.
fn norms<'a>(ops: impl Iterator<Item = &'a Op>) -> (Vec<StatisticId>, Vec<(usize, usize)>) {
    let (mut statistics, mut all_terms) = (Vec::new(), Vec::new());
    for op in ops {
        if let Op::BatchNorm { statistic, scale, .. } = op {
            statistics.push(*statistic);
            if let Scale::Mixing { terms, .. } = scale {
                all_terms.extend_from_slice(terms);
            }
        }
    }
    (statistics, all_terms)
}

#[derive(PartialEq)]
enum Like {
    Relu,
    Pad(usize, Fill),
    Conv { kernel: Vec<usize>, stride: [usize; 2], padding: [usize; 2], dilation: usize, depthwise: bool },
    Norm(Option<usize>),
}
