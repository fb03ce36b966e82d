//! Runs the edges that leave one node side by side: what E edges do alike becomes one instruction on E times as many
//! channels.
//!
//! A group begins with convolutions of one kernel that read one value: depthwise ones on as many copies of it, where the
//! site's form says so; ordinary ones, as those of the factorized reductions, as one with all their kernels. It goes on
//! through ReLUs, convolutions, batch norms and concatenations with other groups of the same edges for as long as all
//! its members do the same, and ends where they part ways to their nodes. Weights and running statistics of a group lie one after the other, so that the group's kernel is one view
//! of the weight vector.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::editor::{Editor, readers};
use super::order::reorder;
use crate::error::Result;
use crate::plan::{Form, Forms, Instruction, Op, Plan, Scale, Site, StatisticId, ValueId, WeightId};

/// Rewrites the edges that leave one node.
pub struct Group {
    /// Which groups are written as one.
    pub forms: Forms,
}

impl Pass for Group {
    fn name(&self) -> &'static str {
        "group"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let output = plan.output;
        let (mut grouping, scope) = Grouping::of(plan, &self.forms)?;
        let output = grouping.alone(output, &scope)?;
        let Grouping { editor, weights, statistics, .. } = grouping;
        reorder(editor.finish(output), &weights, &statistics)
    }
}

/// Every group there could be: its site, and the places of its instructions.
pub(super) fn sites(plan: &Plan) -> Result<Vec<(String, Vec<usize>)>> {
    Ok(Grouping::of(plan.clone(), &Forms::GROUPED)?.0.sites)
}

/// "cells.0" of "cells.0.edges.0_2.skip_connect"; nothing of what belongs to no edge.
fn cell_of_edge(scope: &str) -> Option<&str> {
    scope.split_once(".edges.").map(|(cell, _)| cell)
}

/// "cells.0.edges.0_2.skip_connect" and the same of edge 0_3 as "cells.0.edges.0_2,0_3.skip_connect".
fn joined<'a>(mut scopes: impl Iterator<Item = &'a str>) -> String {
    let mut parts: Vec<String> = scopes.next().unwrap_or_default().split('.').map(str::to_owned).collect();
    for scope in scopes {
        for (part, other) in parts.iter_mut().zip(scope.split('.')) {
            if part != other && !part.split(',').any(|known| known == other) {
                *part = format!("{part},{other}");
            }
        }
    }
    parts.join(".")
}

/// Values that lie side by side in one.
struct Members {
    /// The place of its site among all, where it had a choice.
    site: Option<usize>,
    together: ValueId,
    members: Vec<ValueId>,
    /// Those that somebody needed alone.
    alone: HashMap<ValueId, ValueId>,
}

struct Grouping<'a> {
    forms: &'a Forms,
    editor: Editor,
    readers: HashMap<ValueId, Vec<usize>>,
    groups: Vec<Members>,
    /// The group each grouped value belongs to.
    place: HashMap<ValueId, usize>,
    repeated: HashMap<(ValueId, usize), ValueId>,
    /// Instructions that were written with another one.
    done: HashSet<usize>,
    /// Instructions whose group is not written as one.
    apart: HashSet<usize>,
    /// The sites that are written as one, and the places of their instructions.
    sites: Vec<(String, Vec<usize>)>,
    /// Runs of weights and of statistics that must lie one after the other.
    weights: Vec<Vec<WeightId>>,
    statistics: Vec<Vec<StatisticId>>,
}

impl<'a> Grouping<'a> {
    /// Writes a plan with its groups; also the scope of its end.
    fn of(plan: Plan, forms: &'a Forms) -> Result<(Self, String)> {
        let (editor, instructions) = Editor::new(plan);
        let mut grouping = Grouping {
            forms,
            editor,
            readers: readers(&instructions),
            groups: Vec::new(),
            place: HashMap::new(),
            repeated: HashMap::new(),
            done: HashSet::new(),
            apart: HashSet::new(),
            sites: Vec::new(),
            weights: Vec::new(),
            statistics: Vec::new(),
        };
        for index in 0..instructions.len() {
            grouping.instruction(&instructions, index)?;
        }
        let scope = instructions.last().map_or_else(String::new, |last| last.scope.clone());
        Ok((grouping, scope))
    }

    fn instruction(&mut self, all: &[Instruction], index: usize) -> Result<()> {
        if self.done.contains(&index) {
            return Ok(());
        }
        let instruction = &all[index];
        if let Some(team) = self.team(all, index)? {
            return self.together(all, &team);
        }
        let inputs = instruction.inputs.iter().map(|input| self.alone(*input, &instruction.scope));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        self.editor.define(instruction.op.clone(), inputs, &instruction.scope, instruction.output)
    }

    /// The instructions that can be written with this one, itself among them: at least two.
    fn team(&mut self, all: &[Instruction], index: usize) -> Result<Option<Vec<usize>>> {
        let instruction = &all[index];
        if let Op::Concat { blocks: 1 } = instruction.op {
            return Ok(self.joint(all, instruction));
        }
        let [input] = instruction.inputs[..] else { return Ok(None) };
        let free = |other: &usize| !self.done.contains(other) && !self.apart.contains(other);
        let alike = |other: &&usize| free(other) && self.like(&all[**other]) == self.like(instruction);
        let Some(like) = self.like(instruction) else { return Ok(None) };
        let Some(group) = self.place.get(&input) else {
            let Like::Conv { depthwise, stride, .. } = like else { return Ok(None) };
            let here = cell_of_edge(&instruction.scope);
            // A cell of one channel has preprocessings that look like depthwise convolutions.
            let neighbour = |other: &&usize| here.is_some() && cell_of_edge(&all[**other].scope) == here;
            let team: Vec<usize> = self.readers[&input].iter().filter(alike).filter(neighbour).copied().collect();
            if team.len() < 2 || self.apart.contains(&index) {
                return Ok(None);
            }
            if !depthwise {
                // One convolution with more kernels is better everywhere.
                return Ok(self.ordinary(instruction).then_some(team));
            }
            let operation = instruction.scope.rsplit('.').next().unwrap_or_default();
            let shape = self.editor.shape(input)?.clone();
            let site = Site { operation, edges: team.len(), stride: stride[0], shape: &shape };
            let form = self.forms.of(&site);
            self.editor.note(&site, form);
            return Ok(match form {
                Form::Grouped => {
                    self.sites.push((site.to_string(), Vec::new()));
                    Some(team)
                }
                Form::Edges => {
                    self.apart.extend(team);
                    None
                }
            });
        };
        let follower = |member: &ValueId| -> Option<usize> {
            let mut alike = self.readers.get(member)?.iter().filter(alike);
            let first = alike.next()?;
            alike.next().is_none().then_some(*first)
        };
        Ok(self.groups[*group].members.iter().map(follower).collect())
    }

    /// Whether an instruction is a convolution of all channels at once.
    fn ordinary(&self, instruction: &Instruction) -> bool {
        matches!(instruction.op, Op::Conv { groups: 1, .. })
            && matches!(self.like(instruction), Some(Like::Conv { depthwise: false, .. }))
    }

    /// The concatenations of what several groups of the same edges hold, edge by edge.
    fn joint(&self, all: &[Instruction], instruction: &Instruction) -> Option<Vec<usize>> {
        let groups = instruction.inputs.iter().map(|input| self.place.get(input).map(|group| &self.groups[*group]));
        let groups = groups.collect::<Option<Vec<_>>>()?;
        let edges = groups.first()?.members.len();
        let of_edge = |edge: usize| -> Option<usize> {
            let inputs: Vec<ValueId> = groups.iter().filter_map(|group| group.members.get(edge).copied()).collect();
            let mut joins = self.readers.get(inputs.first()?)?.iter().filter(|reader| all[**reader].inputs == inputs);
            let same = |reader: &&usize| all[**reader].op == instruction.op && !self.done.contains(reader);
            joins.find(same).copied()
        };
        groups.iter().all(|group| group.members.len() == edges).then_some(())?;
        (0..edges).map(of_edge).collect()
    }

    /// Writes the members of a team as one.
    fn together(&mut self, all: &[Instruction], team: &[usize]) -> Result<()> {
        let first = &all[team[0]];
        let scope = joined(team.iter().map(|index| all[*index].scope.as_str()));
        let edges = team.len();
        let input = first.inputs[0];
        let begins = !self.place.contains_key(&input);
        let stacked = begins && self.ordinary(first);
        let site = match self.place.get(&input) {
            Some(group) => self.groups[*group].site,
            None => (!stacked).then(|| self.sites.len() - 1),
        };
        if let Some(site) = site {
            self.sites[site].1.extend(team);
        }
        let mut values = Vec::with_capacity(first.inputs.len());
        for input in &first.inputs {
            values.push(match self.place.get(input) {
                Some(group) => self.groups[*group].together,
                None if stacked => *input,
                None => self.repeat(*input, edges, &scope)?,
            });
        }
        let op = match &first.op {
            Op::Conv { stride, padding, dilation, groups, .. } => {
                let kernel = |index: &usize| match all[*index].op {
                    Op::Conv { weight, .. } => Some(weight),
                    _ => None,
                };
                let weights: Vec<WeightId> = team.iter().filter_map(kernel).collect();
                let (weight, groups) = (weights[0], if stacked { 1 } else { groups * edges });
                self.weights.push(weights);
                Op::Conv { weight, members: edges, stride: *stride, padding: *padding, dilation: *dilation, groups }
            }
            Op::BatchNorm { statistic, scale, .. } => {
                let (statistics, terms) = norms(team.iter().map(|index| &all[*index].op));
                self.statistics.push(statistics);
                let scale = match scale {
                    Scale::Mixing { alpha, .. } => Scale::Mixing { alpha: *alpha, terms },
                    _ => Scale::One,
                };
                Op::BatchNorm { statistic: *statistic, members: edges, aliases: Vec::new(), scale }
            }
            Op::Concat { .. } => Op::Concat { blocks: edges },
            op => op.clone(),
        };
        let together = self.editor.push(op, values, &scope)?;
        let members: Vec<ValueId> = team.iter().map(|index| all[*index].output).collect();
        self.place.extend(members.iter().map(|member| (*member, self.groups.len())));
        self.groups.push(Members { site, together, members, alone: HashMap::new() });
        self.done.extend(team);
        Ok(())
    }

    /// A value as many times as edges leave it.
    fn repeat(&mut self, value: ValueId, times: usize, scope: &str) -> Result<ValueId> {
        if let Some(repeated) = self.repeated.get(&(value, times)) {
            return Ok(*repeated);
        }
        let repeated = self.editor.push(Op::Repeat { times }, vec![value], scope)?;
        self.repeated.insert((value, times), repeated);
        Ok(repeated)
    }

    /// The value by itself: a slice of its group, if it is in one.
    fn alone(&mut self, value: ValueId, scope: &str) -> Result<ValueId> {
        let Some(group) = self.place.get(&value) else { return Ok(value) };
        let group = &mut self.groups[*group];
        if let Some(alone) = group.alone.get(&value) {
            return Ok(*alone);
        }
        let index = group.members.iter().position(|member| *member == value).unwrap_or(0);
        let slice = Op::Slice { index, of: group.members.len() };
        let alone = self.editor.push(slice, vec![group.together], scope)?;
        group.alone.insert(value, alone);
        Ok(alone)
    }

    /// What must agree for instructions to be written as one; nothing for those that stay alone.
    fn like(&self, instruction: &Instruction) -> Option<Like> {
        match &instruction.op {
            Op::Relu => Some(Like::Relu),
            Op::Conv { weight, members: 1, stride, padding, dilation, groups } => {
                let kernel = self.editor.weight_shape(*weight).to_vec();
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

/// Statistics and mixing weights of several batch norms, in order.
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
    Conv { kernel: Vec<usize>, stride: [usize; 2], padding: [usize; 2], dilation: usize, depthwise: bool },
    Norm(Option<usize>),
}
