//! The plan as text: for each part of the network the operations, their inputs, shapes and numbers of weights.
//!
//! A line is a chain of instructions in which each is the only reader of the one before. Edges with equal lines are
//! written once, and so are cells; the values named are those of the first of them.

mod sections;
mod steps;

use std::collections::HashSet;
use std::fmt::Write;

use self::sections::{Paragraph, Section, chains};
use super::cost::grouped;
use crate::arch::LogitTable;
use crate::plan::scope::{edge_names, operation_names};
use crate::plan::{EdgeOptions, Instruction, Language, Module, Part, Plan, Recurrence, Shape, Sizes, ValueId};
use crate::space::{CellSpec, Edge, Operation};

/// Longer lists of inputs are abridged.
const MOST_INPUTS: usize = 4;

/// Width of the column with the operations.
const WIDTH: usize = 100;

/// Width of the column with the names of parts and operations.
const NAME: usize = 15;

impl Plan {
    /// The plan as a text for people: the space, every instruction of the parts of the network, and the cost.
    pub fn explain(&self) -> String {
        self.described(true)
    }

    /// The plan as a text of at most 40 lines: the space, the size of the parts of the network, and the cost.
    pub fn summary(&self) -> String {
        self.described(false)
    }

    fn described(&self, whole: bool) -> String {
        let mut text = String::new();
        self.explain_head(&mut text, whole);
        let sections = self.sections();
        // Cells with equal bodies differ only in their preprocessing, and are written together.
        let bodies: Vec<_> = sections.iter().map(|section| self.body_form(section)).collect();
        for (index, section) in sections.iter().enumerate() {
            if !section.module.is_cell() {
                let weights = self.weights_of(section.paragraphs.iter());
                if !whole {
                    let _ = writeln!(text, "{}: weights {}", section.module, grouped(weights));
                    continue;
                }
                let _ = writeln!(text, "\n{}", section.module);
                section.paragraphs.iter().for_each(|paragraph| self.explain_paragraph(&mut text, "", paragraph));
            } else if !bodies[..index].contains(&bodies[index]) {
                let alike = sections.iter().zip(&bodies).filter(|(_, body)| **body == bodies[index]);
                let alike = alike.map(|(section, _)| section).collect::<Vec<_>>();
                if whole {
                    let _ = writeln!(text);
                    self.explain_cells(&mut text, &alike);
                } else {
                    self.explain_heading(&mut text, &alike);
                }
            }
        }
        let _ = writeln!(text, "\ncost\n{}", self.cost());
        text
    }

    /// Writes the space, the tables, the size and the passes.
    fn explain_head(&self, text: &mut String, whole: bool) {
        let space = &self.space;
        let size = |table: &LogitTable| format!("{} [{}, {}]", table.name, table.rows.len(), table.columns);
        let tables: Vec<String> = self.alphas.iter().map(size).collect();
        let passes = if self.passes.is_empty() { "none".to_string() } else { self.passes.join(", ") };
        let (input, output) = (name(self.input), name(self.output));
        let network = match (&self.sizes, &self.recurrence) {
            (Sizes::Words(Language { words, units }), Some(Recurrence { state, next })) => format!(
                "{units} units, {words} words; a token in {input}, its state in {}, the next one in {}, the next word in \
                 {output}",
                name(*state),
                name(*next)
            ),
            _ => {
                let geometry = self.sizes.images();
                let what = if self.space.dimensions() == Some(1) { "sequences" } else { "images" };
                let layers = geometry.map_or(0, |geometry| geometry.layers);
                let cells = match space.network.stages() {
                    Some(stages) => format!("{stages} stages with {layers} cells each"),
                    None => format!("{layers} cells"),
                };
                format!(
                    "{} channels, {cells}, {what} {} in {input}, {} classes in {output}",
                    geometry.map_or(0, |geometry| geometry.channels),
                    Shape(self.example_shape()),
                    self.sizes.outputs()
                )
            }
        };
        let _ = writeln!(
            text,
            "space    {}: {} input node{}, {} intermediate nodes and {} edges per cell",
            space.name,
            space.inputs(),
            if space.inputs() == 1 { "" } else { "s" },
            space.nodes(),
            space.edges().len()
        );
        self.explain_candidates(text, whole);
        let _ = writeln!(text, "alphas   {}", tables.join(", "));
        let _ = writeln!(text, "network  {network}");
        if self.edges != EdgeOptions::default() {
            let _ = writeln!(text, "edges    {}", self.edges);
        }
        let _ = writeln!(text, "passes   {passes}");
        if !whole {
            let _ = writeln!(text, "plan     {} instructions\n", grouped(self.instructions.len() as u64));
        }
    }

    /// Writes the operations: one line if all edges have the same, else one per table and list; or how many each edge has.
    fn explain_candidates(&self, text: &mut String, whole: bool) {
        if let Some(operations) = self.space.uniform_operations() {
            let _ = writeln!(text, "         operations {}", names_of(operations));
            return;
        }
        if !whole {
            let sizes = || self.alphas.iter().flat_map(|table| &table.rows).map(|row| row.candidates.len());
            let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
            let range = if least == most { most.to_string() } else { format!("{least} to {most}") };
            let _ =
                writeln!(text, "         operations {range} per edge, of {}", names_of(&self.space.all_operations()));
            return;
        }
        for cell in &self.space.cells {
            let mut lists: Vec<(&[Operation], Vec<Edge>)> = Vec::new();
            for (row, edge) in cell.edges().into_iter().enumerate() {
                match lists.iter_mut().find(|(list, _)| *list == cell.operations(row)) {
                    Some((_, edges)) => edges.push(edge),
                    None => lists.push((cell.operations(row), vec![edge])),
                }
            }
            for (list, edges) in lists {
                let _ = writeln!(text, "         {} {}: {}", cell.name, edge_names(&edges), names_of(list));
            }
        }
    }

    /// The lines that cells must share to be written once: all but those of the preprocessing.
    fn body_form(&self, section: &Section) -> Vec<(String, Vec<String>)> {
        let is_body = |paragraph: &&Paragraph| section.module.is_cell() && !paragraph.is_preprocessing();
        let body = section.paragraphs.iter().filter(is_body);
        body.map(|paragraph| (paragraph.name(), self.form(paragraph))).collect()
    }

    /// The lines of a paragraph without the names of values.
    fn form(&self, paragraph: &Paragraph) -> Vec<String> {
        let line = |chain: Vec<&Instruction>| {
            let shape = chain.last().map(|last| last.shape.to_string()).unwrap_or_default();
            format!("{} {} {shape}", operation(&chain), self.steps(&chain).join(" > "))
        };
        chains(paragraph).into_iter().map(line).collect()
    }

    /// Writes cells with equal bodies: their heading, the preprocessing of each, and the body of the first.
    fn explain_cells(&self, text: &mut String, cells: &[&Section]) {
        let Some(first) = cells.first() else { return };
        self.explain_heading(text, cells);
        for cell in cells {
            for paragraph in cell.paragraphs.iter().filter(|paragraph| paragraph.is_preprocessing()) {
                let label = match cell.module {
                    Module::Cell(number) if cells.len() > 1 => format!("{number}.{}", paragraph.name()),
                    _ => paragraph.name(),
                };
                self.explain_paragraph(text, &label, paragraph);
            }
        }
        let body = first.paragraphs.iter().filter(|paragraph| !paragraph.is_preprocessing());
        let (edges, rest): (Vec<&Paragraph>, Vec<&Paragraph>) =
            body.partition(|paragraph| matches!(paragraph.part, Part::Edges { .. }));
        self.explain_edges(text, &edges, self.table_of(&first.paragraphs));
        for paragraph in rest {
            let label = match paragraph.part {
                Part::Node(node) => format!("node {node}"),
                Part::AuxiliarySkip(edge) => format!("auxiliary skip {}", edge_names(&[*edge])),
                _ => "output".to_string(),
            };
            self.explain_paragraph(text, &label, paragraph);
        }
    }

    /// Writes the numbers, table, output shape and weights of cells with equal bodies.
    fn explain_heading(&self, text: &mut String, cells: &[&Section]) {
        let paragraphs = cells.first().map_or(&[][..], |first| &first.paragraphs);
        let number = |cell: &&Section| match cell.module {
            Module::Cell(number) => Some(number.to_string()),
            _ => None,
        };
        let numbers: Vec<String> = cells.iter().filter_map(number).collect();
        let table = self.table_of(paragraphs);
        // A chain has cells alone; between stages there are blocks without a table.
        let (noun, sort) = match (table, self.space.network.stages()) {
            (Some(table), _) => ("cell", table),
            (None, Some(_)) => ("block", "residual"),
            (None, None) => ("cell", "plain"),
        };
        let heading = match cells.len() {
            _ if numbers.is_empty() => noun.to_string(),
            1 => format!("{noun} {}", numbers.join(", ")),
            _ => format!("{noun}s {}", numbers.join(", ")),
        };
        let weights: Vec<String> = cells.iter().map(|cell| grouped(self.weights_of(cell.paragraphs.iter()))).collect();
        let last = paragraphs.last().and_then(|paragraph| paragraph.instructions.last());
        let _ = writeln!(
            text,
            "{heading}: {sort}, {} out; weights {}",
            last.map(|last| last.shape.to_string()).unwrap_or_default(),
            weights.join(" and ")
        );
    }

    /// Writes the edges of a cell, edges with equal lines once; `table` is the one that the cell mixes with.
    fn explain_edges(&self, text: &mut String, edges: &[&Paragraph], table: Option<&str>) {
        let cell = table.and_then(|table| self.space.cell(table));
        for alike in self.fold(edges) {
            let names: Vec<String> = alike.iter().map(|paragraph| edge_names(edges_of(paragraph))).collect();
            let weights = grouped(self.weights_of(alike[..1].iter().copied()));
            let _ = writeln!(text, "  edge {}, {weights} weights each", names.join(" "));
            self.explain_paragraph(text, "", alike[0]);
            if let (&[edge], Some(cell), None) = (edges_of(alike[0]), cell, &self.recurrence) {
                let skip = match self.edges.partial_channels {
                    1 => "the edge's input, as it is",
                    _ => "the first channels of the edge's input, as they are",
                };
                explain_absent(text, (cell, edge), edges, skip);
            }
        }
    }

    /// Groups paragraphs with equal lines, in the order of the first of each.
    fn fold<'a>(&self, paragraphs: &[&'a Paragraph<'a>]) -> Vec<Vec<&'a Paragraph<'a>>> {
        let mut folded: Vec<(Vec<String>, Vec<&Paragraph>)> = Vec::new();
        for paragraph in paragraphs {
            let form = self.form(paragraph);
            match folded.iter_mut().find(|(known, _)| *known == form) {
                Some((_, alike)) => alike.push(paragraph),
                None => folded.push((form, vec![paragraph])),
            }
        }
        folded.into_iter().map(|(_, alike)| alike).collect()
    }

    /// Writes one line per chain: its name, values and steps, output shape and weights.
    fn explain_paragraph(&self, text: &mut String, label: &str, paragraph: &Paragraph) {
        for (index, chain) in chains(paragraph).into_iter().enumerate() {
            let (Some(first), Some(last)) = (chain.first(), chain.last()) else { continue };
            let operation = operation(&chain);
            let label = match operation.as_str() {
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

    fn steps(&self, chain: &[&Instruction]) -> Vec<String> {
        chain.iter().map(|instruction| self.step(&instruction.op)).collect()
    }

    /// The α table that a cell mixes with.
    fn table_of(&self, paragraphs: &[Paragraph]) -> Option<&str> {
        let mut instructions = paragraphs.iter().flat_map(|paragraph| &paragraph.instructions);
        let (alpha, _) = instructions.find_map(|instruction| instruction.op.mixing())?;
        self.alphas.get(alpha.0).map(|alpha| alpha.name.as_str())
    }

    fn weights_of<'a>(&self, paragraphs: impl Iterator<Item = &'a Paragraph<'a>>) -> u64 {
        self.weights_of_chain(&paragraphs.flat_map(|it| it.instructions.iter().copied()).collect::<Vec<_>>())
    }

    /// Numbers in the weights that some instructions use, each weight counted once.
    fn weights_of_chain(&self, chain: &[&Instruction]) -> u64 {
        let used: HashSet<usize> = chain.iter().flat_map(|instruction| instruction.op.weights()).collect();
        used.into_iter().filter_map(|id| self.weights.get(id)).map(|weight| weight.elements() as u64).sum()
    }
}

/// Names the operations of an edge of a cell that no paragraph shows; `skip` describes a skip connection.
fn explain_absent(text: &mut String, (cell, edge): (&CellSpec, Edge), edges: &[&Paragraph], skip: &str) {
    // An operation of a group of edges is shown at the group.
    let is_shown = |operation: Operation| {
        edges.iter().any(|paragraph| edges_of(paragraph).contains(&edge) && paragraph.computes(operation))
    };
    let row = cell.edges().iter().position(|other| *other == edge).unwrap_or(usize::MAX);
    for operation in cell.operations(row).iter().filter(|operation| **operation != Operation::None) {
        if !is_shown(*operation) {
            let reason = match operation {
                Operation::SkipConnect => skip,
                _ => "shared with another edge of the same source",
            };
            let _ = writeln!(text, "    {:NAME$} {reason}", operation.name());
        }
    }
}

/// "none, tanh".
fn names_of(operations: &[Operation]) -> String {
    operations.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", ")
}

/// The edges of a paragraph; empty for other parts.
fn edges_of<'a>(paragraph: &Paragraph<'a>) -> &'a [Edge] {
    match paragraph.part {
        Part::Edges { edges, .. } => edges,
        _ => &[],
    }
}

/// The operation of an edge that a chain belongs to, or nothing.
fn operation(chain: &[&Instruction]) -> String {
    chain.first().map_or_else(String::new, |first| operation_names(first.scope.operations()))
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
