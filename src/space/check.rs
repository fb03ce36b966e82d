//! Checks of a space: counts in range, parts that fit each other, candidates that the cells may have.

use super::cell::{Aggregate, Candidates, CellKind, CellSpec, Keep, Layers, Output, Preprocess};
use super::network::Stem;
use super::{MOST_NODES, Operation, Space, Stages, repeated};
use crate::error::{Error, Result, cut};

/// The largest number of characters in the name of a space.
const LONGEST_NAME: usize = 100;

/// The largest `stem_multiplier`; the published one is 3.
pub(super) const LARGEST_STEM: usize = 64;

impl Space {
    /// Checks that counts are in range, that no entry occurs twice, and that cells, network and operations fit together.
    pub fn validate(&self) -> Result<()> {
        self.flaw().map_or(Ok(()), |detail| Err(Error::space(format!("space `{}`: {detail}", cut(&self.name)))))
    }

    fn flaw(&self) -> Option<String> {
        if self.name.chars().count() > LONGEST_NAME {
            return Some(format!("its name is longer than {LONGEST_NAME} characters"));
        }
        let Some((count, preprocess)) = self.network.cells() else {
            return Some("`stem`, `stages` and `head` of its network do not fit each other".to_string());
        };
        if self.cells.len() != count || self.cells.iter().any(|cell| cell.preprocess != preprocess) {
            let cells = self.cells.len();
            return Some(format!(
                "its network has {count} cells that read {preprocess:?}, and the space {cells} others"
            ));
        }
        if let Stem::Convolution { multiplier, .. } = self.network.stem
            && !(1..=LARGEST_STEM).contains(&multiplier)
        {
            return Some(format!(
                "`stem_multiplier` is {multiplier}; it must be a whole number from 1 to {LARGEST_STEM}"
            ));
        }
        if let Some(flaw) = self.network.stages.flaw().or_else(|| self.widening_flaw()) {
            return Some(flaw);
        }
        let first = self.first();
        let alike =
            |cell: &CellSpec| CellSpec { name: first.name, operations: first.operations.clone(), ..cell.clone() };
        if let Some(other) = self.cells.iter().find(|cell| alike(cell) != *first) {
            return Some(format!("cells `{}` and `{}` differ in more than their operations", first.name, other.name));
        }
        let is_unknown =
            |operation: &Operation| operation.is_own() && !self.own_operations.contains_key(operation.name());
        if let Some(operation) = self.all_operations().into_iter().find(is_unknown) {
            let name = operation.name();
            return Some(format!(
                "`{name}` is an operation of your own; give the pydarts.Operation instead of its name"
            ));
        }
        let uniform = self.uniform_operations().is_some();
        let dimensions = self.dimensions();
        self.cells.iter().find_map(|cell| cell.flaw(uniform, dimensions)).or_else(|| {
            let cell = self.network.reductions().and_then(|cells| repeated(cells))?;
            Some(format!("cell {cell} occurs twice in `reductions`"))
        })
    }

    /// Why the first cells of stages cannot change the number of channels.
    fn widening_flaw(&self) -> Option<String> {
        if matches!(self.network.stages, Stages::Direct { .. }) && self.network.stem_multiplier() != 1 {
            let multiplier = self.network.stem_multiplier();
            return Some(format!("`stem_multiplier` is {multiplier}; with a list of `stages` it must be 1"));
        }
        if !self.network.stages.change_channels() {
            return None;
        }
        let cell = self.first();
        let mut rows = cell.edges().into_iter().enumerate().filter(|(_, edge)| edge.from < cell.inputs);
        rows.find_map(|(row, edge)| {
            let operation = cell.operations(row).iter().find(|operation| !operation.changes_channels())?.name();
            Some(format!(
                "edge {}->{}: operation `{operation}` cannot change the number of channels, as `stages` require of \
                 the edges that leave the input; use convolutions, `skip_connect` and `none` there",
                edge.from, edge.to
            ))
        })
    }
}

impl CellSpec {
    /// What is wrong with the cell; `uniform`: whether all cells have one list of operations; `dimensions`: how many the
    /// network's convolutions run over.
    fn flaw(&self, uniform: bool, dimensions: Option<usize>) -> Option<String> {
        if self.nodes == 0 || self.nodes > MOST_NODES {
            return Some(format!("`nodes` is {}; it must be a whole number from 1 to {MOST_NODES}", self.nodes));
        }
        if self.inputs != self.preprocess.inputs() {
            return Some(format!("its cells read {} inputs, not {}", self.preprocess.inputs(), self.inputs));
        }
        if self.layers != Layers::DARTS && self.preprocess != Preprocess::Nothing {
            return Some("`pooling_norm`, `affine` and `bias` are options of spaces with `stages`".to_string());
        }
        let own = match self.kind() {
            CellKind::Convolutional => Aggregate::Sum,
            CellKind::Recurrent => Aggregate::NormalizedSum,
        };
        if self.aggregate != own {
            return Some(format!("a {} cell has nodes of {own:?}, not {:?}", self.kind().name(), self.aggregate));
        }
        match self.keep {
            Keep::Strongest(0) => return Some("`keep` is 0; a node must keep at least 1 edge".to_string()),
            Keep::Threshold(least) if !(0.0..=1.0).contains(&least) => {
                return Some(format!("the threshold of `keep` is {least}; it must be a number from 0 to 1"));
            }
            _ => {}
        }
        self.output_flaw().or_else(|| self.operations_flaw(uniform, dimensions))
    }

    fn output_flaw(&self) -> Option<String> {
        let foreign = match (&self.output, self.kind()) {
            (Output::Mean(_), CellKind::Convolutional) => Some(("mean", "concat")),
            (Output::Concat(_), CellKind::Recurrent) => Some(("concat", "mean")),
            _ => None,
        };
        if let Some((given, own)) = foreign {
            let kind = self.kind().name();
            return Some(format!("`output` is \"{given}\"; a {kind} cell has \"{own}\" or \"last\""));
        }
        if self.preprocess == Preprocess::Nothing && self.output != Output::Last {
            return Some("the output of a cell with `stages` is \"last\", which keeps the channels".to_string());
        }
        let nodes = self.output_nodes();
        if nodes.is_empty() {
            return Some("`concat` is empty; the cell would have no output".to_string());
        }
        if let Some(node) = repeated(&nodes) {
            return Some(format!("node {node} occurs twice in `concat`"));
        }
        let own = self.intermediate();
        let node = nodes.iter().find(|node| !own.contains(node))?;
        Some(format!("`concat` holds node {node}; the intermediate nodes are {} to {}", own.start, own.end - 1))
    }

    fn operations_flaw(&self, uniform: bool, dimensions: Option<usize>) -> Option<String> {
        let of = (self.kind(), dimensions);
        match &self.operations {
            Candidates::Everywhere(list) if uniform => list_flaw(of, "`operations`", list),
            Candidates::Everywhere(list) => list_flaw(of, &format!("`operations` of `{}`", self.name), list),
            Candidates::PerEdge(lists) => {
                let edges = self.edges();
                if lists.len() != edges.len() {
                    let (table, edges, lists) = (self.name, edges.len(), lists.len());
                    return Some(format!(
                        "expected {edges} lists in `operations` of `{table}`, one per edge of a cell with {} nodes, got \
                         {lists}",
                        self.nodes
                    ));
                }
                edges.iter().zip(lists).find_map(|(edge, list)| {
                    let place = format!("`operations` of `{}`, edge {}->{}", self.name, edge.from, edge.to);
                    list_flaw(of, &place, list)
                })
            }
        }
    }
}

/// What is wrong with the candidates of an edge.
fn list_flaw((kind, dimensions): (CellKind, Option<usize>), place: &str, list: &[Operation]) -> Option<String> {
    if list.is_empty() {
        return Some(format!("{place} is empty; give at least one other than `none`"));
    }
    if let Some(operation) = repeated(list) {
        return Some(format!("operation `{}` occurs twice in {place}", operation.name()));
    }
    if list == [Operation::None] {
        return Some(format!("{place} holds only `none`; give at least one more"));
    }
    let fits = |operation: &Operation| kind.allows(*operation) && operation.suits(dimensions.unwrap_or(2));
    let operation = list.iter().find(|operation| !fits(operation))?.name();
    let own = Operation::names(kind, dimensions).join(", ");
    let (sort, other) = match (dimensions, Operation::parse(operation).ok()?.dimensions()) {
        (Some(1), _) => ("1-D convolutional", ", or leave the name of the preset out"),
        (Some(2), Some(1)) => ("2-D convolutional", ", or give space \"darts-1d\" for sequences"),
        _ => (kind.name(), ""),
    };
    Some(format!("{place}: operation `{operation}` does not belong in a {sort} cell; choose from {own}{other}"))
}
