//! The plan as text: what each part of the network computes, from what, of which shape and with how many weights.
//!
//! A line is a chain of instructions in which each reads only the one before. Edges that look the same are written
//! once, and so are cells; the values named are those of the first of them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::cost::grouped;
use crate::plan::{Instruction, Language, Op, Plan, Recurrence, Scale, Sizes, ValueId};
use crate::space::Operation;

/// A mixture with more inputs than this has them abridged.
const MOST_INPUTS: usize = 4;

/// Width of the column in which lines say what they compute.
const WIDTH: usize = 100;

/// The only cell of a recurrent network.
const CELL: &str = "cell";

/// Width of the column that names the part of a cell.
const NAME: usize = 15;

/// A part of the network: the instructions of one scope, or of one edge with all its operations.
struct Part<'a> {
    /// The scope inside the cell, "pre0", "edges.0_2", "nodes.2", or nothing for the cell's own.
    name: String,
    instructions: Vec<&'a Instruction>,
}

impl Part<'_> {
    /// Whether one of its instructions belongs to this operation.
    fn computes(&self, operation: &str) -> bool {
        self.instructions.iter().any(|instruction| instruction.scope.rsplit('.').next() == Some(operation))
    }
}

impl Plan {
    /// The plan as a text for people: the space, the parts, and what they cost.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        self.explain_head(&mut text);
        let sections = self.sections();
        // Cells of the same body differ only in what their inputs go through, and are written together.
        let bodies: Vec<_> = sections.iter().map(|section| self.body_form(section)).collect();
        for (index, (name, parts)) in sections.iter().enumerate() {
            if !is_cell(name) {
                let _ = writeln!(text, "\n{name}");
                parts.iter().for_each(|part| self.explain_part(&mut text, &part.name, part));
            } else if !bodies[..index].contains(&bodies[index]) {
                let alike = sections.iter().zip(&bodies).filter(|(_, body)| **body == bodies[index]);
                self.explain_cells(&mut text, &alike.map(|(section, _)| section).collect::<Vec<_>>());
            }
        }
        let _ = writeln!(text, "\ncost\n{}", self.cost());
        text
    }

    /// What the plan is of: space, tables, size, passes.
    fn explain_head(&self, text: &mut String) {
        let space = &self.space;
        let operations: Vec<&str> = space.operations.iter().map(|operation| operation.name()).collect();
        let tables: Vec<String> =
            self.alphas.iter().map(|alpha| format!("{} [{}, {}]", alpha.name, alpha.edges, alpha.operations)).collect();
        let passes = if self.passes.is_empty() { "none".to_string() } else { self.passes.join(", ") };
        let (read, told) = (name(self.input), name(self.output));
        let network = match (&self.sizes, &self.recurrence) {
            (Sizes::Words(Language { words, units }), Some(Recurrence { state, next })) => format!(
                "{units} units, {words} words; a token in {read}, its state in {}, the next one in {}, the next word in \
                 {told}",
                name(*state),
                name(*next)
            ),
            _ => {
                let geometry = self.sizes.images();
                format!(
                    "{} channels, {} cells, images {} in {read}, {} classes in {told}",
                    geometry.map_or(0, |geometry| geometry.channels),
                    geometry.map_or(0, |geometry| geometry.layers),
                    self.input_shape,
                    self.sizes.outputs()
                )
            }
        };
        let _ = writeln!(
            text,
            "space    {}: {} input nodes, {} intermediate nodes and {} edges a cell",
            space.name,
            space.inputs(),
            space.nodes,
            space.edges().len()
        );
        let _ = writeln!(text, "         operations {}", operations.join(", "));
        let _ = writeln!(text, "alphas   {}", tables.join(", "));
        let _ = writeln!(text, "network  {network}");
        let _ = writeln!(text, "passes   {passes}");
        for (index, (site, form)) in self.forms.iter().enumerate() {
            let _ = writeln!(text, "{:8} {:7}  {site}", if index == 0 { "forms" } else { "" }, form.to_string());
        }
    }

    /// The instructions by section ("stem", "cells.0", …) and part, in the order in which they first run.
    fn sections(&self) -> Vec<(String, Vec<Part<'_>>)> {
        let mut sections: Vec<(String, Vec<Part>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for instruction in &self.instructions {
            let (section, part) = split(&instruction.scope);
            let place = *places.entry(section.to_string()).or_insert_with(|| {
                sections.push((section.to_string(), Vec::new()));
                sections.len() - 1
            });
            let parts = &mut sections[place].1;
            match parts.iter_mut().find(|known| known.name == part) {
                Some(known) => known.instructions.push(instruction),
                None => parts.push(Part { name: part.to_string(), instructions: vec![instruction] }),
            }
        }
        sections
    }

    /// What cells must have in common to be written once: all but what brings their inputs to size.
    fn body_form(&self, (section, parts): &(String, Vec<Part>)) -> Vec<(String, Vec<String>)> {
        let body = parts.iter().filter(|part| is_cell(section) && !is_preprocessing(&part.name));
        body.map(|part| (part.name.clone(), self.form(part))).collect()
    }

    /// A part's lines without the names of values.
    fn form(&self, part: &Part) -> Vec<String> {
        let line = |chain: Vec<&Instruction>| {
            let shape = chain.last().map(|last| last.shape.to_string()).unwrap_or_default();
            format!("{} {} {shape}", operation(part, &chain), self.steps(&chain).join(" > "))
        };
        self.chains(part).into_iter().map(line).collect()
    }

    /// Cells of one body: their heading, what each does with its inputs, and the body of the first.
    fn explain_cells(&self, text: &mut String, cells: &[&(String, Vec<Part>)]) {
        let Some((_, parts)) = cells.first() else { return };
        let numbers: Vec<&str> = cells.iter().map(|(name, _)| name.trim_start_matches("cells.")).collect();
        let weights: Vec<String> = cells.iter().map(|(_, parts)| grouped(self.weights_of(parts.iter()))).collect();
        let plural = if cells.len() == 1 { "cell" } else { "cells" };
        let output = parts.last().and_then(|part| part.instructions.last()).map(|last| last.shape.to_string());
        let heading = if numbers == [CELL] { CELL.to_string() } else { format!("{plural} {}", numbers.join(", ")) };
        let _ = writeln!(
            text,
            "\n{heading}: {}, {} out; weights {}",
            self.table_of(parts).unwrap_or("plain"),
            output.unwrap_or_default(),
            weights.join(" and ")
        );
        for (name, parts) in cells {
            for part in parts.iter().filter(|part| is_preprocessing(&part.name)) {
                let label = if cells.len() == 1 {
                    part.name.clone()
                } else {
                    format!("{name}.{}", part.name).replace("cells.", "")
                };
                self.explain_part(text, &label, part);
            }
        }
        let body: Vec<&Part> = parts.iter().filter(|part| !is_preprocessing(&part.name)).collect();
        let (edges, rest): (Vec<&Part>, Vec<&Part>) =
            body.into_iter().partition(|part| part.name.starts_with("edges."));
        for alike in self.fold(&edges) {
            let numbers: Vec<&str> = alike.iter().map(|part| part.name.trim_start_matches("edges.")).collect();
            let _ = writeln!(
                text,
                "  edge {}, {} weights each",
                numbers.join(" "),
                grouped(self.weights_of(alike[..1].iter().copied()))
            );
            self.explain_part(text, "", alike[0]);
            let edge = alike[0].name.trim_start_matches("edges.");
            // What a group of edges computes is told where the group is.
            let grouped = |operation: &str| {
                let covers = |part: &&&Part| part.name.trim_start_matches("edges.").split(',').any(|one| one == edge);
                edges.iter().filter(covers).any(|part| part.computes(operation))
            };
            for operation in self.space.operations.iter().filter(|operation| **operation != Operation::None) {
                if self.recurrence.is_none() && !edge.contains(',') && !grouped(operation.name()) {
                    let what = match operation {
                        Operation::SkipConnect => "the edge's input, as it is",
                        _ => "shared with another edge of the same source",
                    };
                    let _ = writeln!(text, "    {:NAME$} {what}", operation.name());
                }
            }
        }
        for part in rest {
            let label = if part.name.is_empty() { "output".to_string() } else { part.name.replace("nodes.", "node ") };
            self.explain_part(text, &label, part);
        }
    }

    /// Parts of equal form together, in the order of the first of each.
    fn fold<'a>(&self, parts: &[&'a Part<'a>]) -> Vec<Vec<&'a Part<'a>>> {
        let mut folded: Vec<(Vec<String>, Vec<&Part>)> = Vec::new();
        for part in parts {
            let form = self.form(part);
            match folded.iter_mut().find(|(known, _)| *known == form) {
                Some((_, alike)) => alike.push(part),
                None => folded.push((form, vec![part])),
            }
        }
        folded.into_iter().map(|(_, alike)| alike).collect()
    }

    /// One line a chain: its name, values and steps, output shape and weights.
    fn explain_part(&self, text: &mut String, label: &str, part: &Part) {
        for (index, chain) in self.chains(part).into_iter().enumerate() {
            let (Some(first), Some(last)) = (chain.first(), chain.last()) else { continue };
            let label = match operation(part, &chain) {
                "" if index > 0 => "",
                "" => label,
                operation => operation,
            };
            let values =
                if chain.len() == 1 { name(first.output) } else { format!("{}-{}", name(first.output), last.output.0) };
            let steps = format!("{values} = {} > {}", inputs(first), self.steps(&chain).join(" > "));
            let weights = self.weights_of_chain(&chain);
            let weights = if weights == 0 { String::new() } else { format!("  {}", grouped(weights)) };
            let _ = writeln!(text, "    {label:NAME$} {steps:WIDTH$} {:>12}{weights}", last.shape);
        }
    }

    /// The part's instructions as runs in which each reads only the one before, and nobody else reads that.
    fn chains<'a>(&self, part: &Part<'a>) -> Vec<Vec<&'a Instruction>> {
        let mut chains: Vec<Vec<&Instruction>> = Vec::new();
        for instruction in &part.instructions {
            let follows = |chain: &&mut Vec<&Instruction>| {
                chain.last().is_some_and(|last| {
                    // A norm ends a chain, so that the halves of a separable convolution are two lines.
                    instruction.inputs == [last.output]
                        && instruction.output.0 == last.output.0 + 1
                        && last.scope == instruction.scope
                        && !matches!(last.op, Op::BatchNorm { .. })
                        && part.instructions.iter().filter(|other| other.inputs.contains(&last.output)).count() == 1
                })
            };
            match chains.last_mut().filter(follows) {
                Some(chain) => chain.push(instruction),
                None => chains.push(vec![instruction]),
            }
        }
        chains
    }

    fn steps(&self, chain: &[&Instruction]) -> Vec<String> {
        chain.iter().map(|instruction| self.step(&instruction.op)).collect()
    }

    /// One operation with its parameters; those that are as usual are left out.
    fn step(&self, op: &Op) -> String {
        let pool = |kind: &str, kernel: usize, stride: usize, padding: usize| {
            format!(
                "{kind} pool {kernel}x{kernel}{}{}",
                both(" stride", [stride; 2], 1),
                both(" padding", [padding; 2], 0)
            )
        };
        match op {
            Op::Conv { weight, members, stride, padding, dilation, groups } => {
                let shape = self.weights.get(weight.0).map_or(&[][..], |weight| &weight.shape);
                let [out, depth, tall, wide] = *shape else { return "convolution".to_string() };
                let out = out * members;
                let channels = match *groups {
                    1 => format!(" {depth}->{out}"),
                    _ if *groups == out && depth == 1 => " depthwise".to_string(),
                    groups => format!(" {}->{out} in {groups} groups", depth * groups),
                };
                let dilation = if *dilation == 1 { String::new() } else { format!(" dilation {dilation}") };
                format!(
                    "conv {tall}x{wide}{channels}{}{}{dilation}",
                    both(" stride", *stride, 1),
                    both(" padding", *padding, 0)
                )
            }
            Op::BatchNorm { scale: Scale::One, .. } => "norm".to_string(),
            Op::BatchNorm { scale: Scale::Affine { .. }, .. } => "affine norm".to_string(),
            Op::BatchNorm { scale: Scale::Mixing { .. }, .. } => format!("norm scaled by {}", self.mixing(op)),
            Op::Relu => "relu".to_string(),
            Op::MaxPool { kernel, stride, padding } => pool("max", *kernel, *stride, *padding),
            Op::AvgPool { kernel, stride, padding } => pool("mean", *kernel, *stride, *padding),
            Op::Shift => "shift by one row and column".to_string(),
            Op::Concat { blocks: 1 } => "concat".to_string(),
            Op::Concat { blocks } => format!("concat in turn {blocks} blocks of each"),
            Op::Mix { .. } => format!("mix by {}", self.mixing(op)),
            Op::Stack => "stack".to_string(),
            Op::Mixtures { rows, .. } => format!("{} mixtures by {}", rows.len(), self.mixing(op)),
            Op::Unstack { index, of } => format!("value {index} of {of}"),
            Op::Subsample { factor } => format!("one row and column in {factor}"),
            Op::SpaceToBatch { factor } => format!("space to batch by {factor}"),
            Op::BatchToSpace { factor } => format!("batch to space by {factor}"),
            Op::Repeat { times } => format!("repeat {times} times"),
            Op::Slice { index, of } => format!("block {index} of {of}"),
            Op::Add => "add".to_string(),
            Op::Accumulate => "add in place".to_string(),
            Op::GlobalAvgPool => "mean over height and width".to_string(),
            Op::Lookup { .. } => "its row".to_string(),
            Op::Mask { place } => format!("drop {}", place.name()),
            Op::Product { weight, rows: (first, count) } => {
                let Some([depth, out]) = self.weights.get(weight.0).map(|weight| &weight.shape[..]) else {
                    return "product".to_string();
                };
                let rows = if count == depth { String::new() } else { format!(", rows from {first}") };
                format!("product {count}->{out}{rows}")
            }
            Op::Gate { activation } => format!("gate {}", activation.name()),
            Op::Gates { columns, .. } => {
                let names: Vec<&str> = columns.iter().map(|(_, activation)| activation.name()).collect();
                format!("gates {} by {}", names.join(", "), self.mixing(op))
            }
            Op::Mean => "mean".to_string(),
            Op::Linear { weight, .. } => match self.weights.get(weight.0).map_or(&[][..], |weight| &weight.shape) {
                [out, features] => format!("linear {features}->{out}"),
                _ => "linear".to_string(),
            },
        }
    }

    /// The cells that an operation mixes with, as "softmax(normal), rows 0-1, columns 3-7".
    fn mixing(&self, op: &Op) -> String {
        let Some((alpha, cells)) = op.mixing() else { return String::new() };
        let table = self.alphas.get(alpha.0).map_or("?", |alpha| alpha.name.as_str());
        let rows: Vec<usize> = cells.iter().map(|(row, _)| *row).collect();
        let columns: Vec<usize> = cells.iter().map(|(_, column)| *column).collect();
        match cells[..] {
            [(row, column)] => format!("softmax({table})[{row}, {column}]"),
            _ => format!("softmax({table}), rows {}, columns {}", runs(&rows), runs(&columns)),
        }
    }

    /// The table of the α a cell mixes with.
    fn table_of(&self, parts: &[Part]) -> Option<&str> {
        let mut instructions = parts.iter().flat_map(|part| &part.instructions);
        let (alpha, _) = instructions.find_map(|instruction| instruction.op.mixing())?;
        self.alphas.get(alpha.0).map(|alpha| alpha.name.as_str())
    }

    fn weights_of<'a>(&self, parts: impl Iterator<Item = &'a Part<'a>>) -> u64 {
        self.weights_of_chain(&parts.flat_map(|part| part.instructions.iter().copied()).collect::<Vec<_>>())
    }

    /// Numbers in the weights that some instructions use, each weight counted once.
    fn weights_of_chain(&self, chain: &[&Instruction]) -> u64 {
        let used: HashSet<usize> = chain.iter().flat_map(|instruction| instruction.op.weights()).collect();
        used.into_iter().filter_map(|id| self.weights.get(id)).map(|weight| weight.elements() as u64).sum()
    }
}

/// "cells.0.edges.0_2.sep_conv_3x3" as section "cells.0" and part "edges.0_2"; other scopes are their own section.
fn split(scope: &str) -> (&str, &str) {
    if !is_cell(scope) {
        return (scope.split('.').next().unwrap_or(scope), "");
    }
    let ends: Vec<usize> = scope.match_indices('.').map(|(index, _)| index).chain([scope.len()]).collect();
    match ends[..] {
        [cell, _, part, ..] if &scope[..cell] == CELL => (CELL, &scope[cell + 1..part]),
        [_, cell, _, part, ..] => (&scope[..cell], &scope[cell + 1..part]),
        [_, cell, part] => (&scope[..cell], &scope[cell + 1..part]),
        _ => (scope, ""),
    }
}

fn is_cell(name: &str) -> bool {
    name.starts_with("cells.") || name.split('.').next() == Some(CELL)
}

fn is_preprocessing(part: &str) -> bool {
    part.starts_with("pre")
}

/// The operation of an edge a chain belongs to, or nothing.
fn operation<'a>(part: &Part, chain: &[&'a Instruction]) -> &'a str {
    let scope = chain.first().map_or("", |first| first.scope.as_str());
    if part.name.starts_with("edges.") { scope.rsplit('.').next().unwrap_or("") } else { "" }
}

fn name(value: ValueId) -> String {
    format!("v{}", value.0)
}

/// The inputs of an instruction, abridged when they are many.
fn inputs(instruction: &Instruction) -> String {
    let names: Vec<String> = instruction.inputs.iter().map(|value| name(*value)).collect();
    match &names[..] {
        [first, .., last] if names.len() > MOST_INPUTS => format!("{first} .. {last} ({})", names.len()),
        _ => names.join(" "),
    }
}

/// A parameter with a value for each direction; nothing when it is as usual.
fn both(what: &str, [down, across]: [usize; 2], usual: usize) -> String {
    match (down, across) {
        _ if down == usual && across == usual => String::new(),
        _ if down == across => format!("{what} {down}"),
        _ => format!("{what} {down}x{across}"),
    }
}

/// Numbers without repetition, neighbours drawn together: "0-1, 4".
fn runs(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in sorted {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => runs.push((number, number)),
        }
    }
    let written =
        |(begin, end): &(usize, usize)| if begin == end { begin.to_string() } else { format!("{begin}-{end}") };
    runs.iter().map(written).collect::<Vec<_>>().join(", ")
}
