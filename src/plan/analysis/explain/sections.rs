//! The instructions of a plan by module and part, and by chain: the lines of the explanation.

use crate::plan::scope::edge_names;
use crate::plan::{Instruction, Module, Op, Part, Plan};
use crate::space::Operation;

/// The instructions of a module of the network.
pub(super) struct Section<'a> {
    pub module: Module,
    /// In the order in which they first run.
    pub paragraphs: Vec<Paragraph<'a>>,
}

/// The instructions of a part of a module; those of an edge include all its operations.
pub(super) struct Paragraph<'a> {
    pub part: &'a Part,
    pub instructions: Vec<&'a Instruction>,
}

impl Paragraph<'_> {
    /// "pre0", "edges.0_2", "nodes.2", or nothing for the module as a whole.
    pub fn name(&self) -> String {
        match self.part {
            Part::Whole => String::new(),
            Part::Preprocess(input) => format!("pre{input}"),
            Part::Edges { edges, .. } => format!("edges.{}", edge_names(edges)),
            Part::AuxiliarySkip(edge) => format!("auxiliary.{}", edge_names(&[*edge])),
            Part::Node(node) => format!("nodes.{node}"),
        }
    }

    pub fn is_preprocessing(&self) -> bool {
        matches!(self.part, Part::Preprocess(_))
    }

    /// Whether one of its instructions belongs to this operation alone.
    pub fn computes(&self, operation: Operation) -> bool {
        self.instructions.iter().any(|instruction| instruction.scope.operations() == [operation])
    }
}

impl Plan {
    /// The sections in the order in which they first run.
    pub(super) fn sections(&self) -> Vec<Section<'_>> {
        let mut sections: Vec<Section> = Vec::new();
        for instruction in &self.instructions {
            let scope = &instruction.scope;
            let found = sections.iter().position(|section| section.module == scope.module);
            let section = found.unwrap_or_else(|| {
                sections.push(Section { module: scope.module, paragraphs: Vec::new() });
                sections.len() - 1
            });
            let paragraphs = &mut sections[section].paragraphs;
            match paragraphs.iter_mut().find(|known| share_paragraph(known.part, &scope.part)) {
                Some(known) => known.instructions.push(instruction),
                None => paragraphs.push(Paragraph { part: &scope.part, instructions: vec![instruction] }),
            }
        }
        sections
    }
}

/// Whether two parts are explained in one paragraph: equal parts, or operations of the same edges.
fn share_paragraph(one: &Part, other: &Part) -> bool {
    match (one, other) {
        (Part::Edges { edges, .. }, Part::Edges { edges: others, .. }) => edges == others,
        _ => one == other,
    }
}

/// The instructions of a paragraph as chains in which each instruction is the only reader of the one before.
pub(super) fn chains<'a>(paragraph: &Paragraph<'a>) -> Vec<Vec<&'a Instruction>> {
    let mut chains: Vec<Vec<&Instruction>> = Vec::new();
    for instruction in &paragraph.instructions {
        let follows = |chain: &&mut Vec<&Instruction>| {
            chain.last().is_some_and(|last| {
                // A norm ends a chain, so that the halves of a separable convolution are two lines.
                instruction.inputs == [last.output]
                    && instruction.output.0 == last.output.0 + 1
                    && last.scope == instruction.scope
                    && !matches!(last.op, Op::BatchNorm { .. })
                    && paragraph.instructions.iter().filter(|other| other.inputs.contains(&last.output)).count() == 1
            })
        };
        match chains.last_mut().filter(follows) {
            Some(chain) => chain.push(instruction),
            None => chains.push(vec![instruction]),
        }
    }
    chains
}
