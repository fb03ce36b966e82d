//! Random convolutional spaces and networks of them.

use std::ops::Range;

use proptest::prelude::*;
use pydarts::plan::Geometry;
use pydarts::space::{CellKind, Operation, Space};

/// Spaces with up to four nodes and six operations, in networks of up to so many layers and channels on images of such
/// sides. Some cannot be lowered: their last reduction has nothing left to halve.
pub fn spaces(layers: usize, channels: usize, sides: Range<usize>) -> impl Strategy<Value = (Space, Geometry)> {
    let all: Vec<Operation> = Operation::ALL.iter().copied().filter(|operation| operation.is_convolutional()).collect();
    let useful = |operations: &Vec<Operation>| *operations != [Operation::None];
    let operations = proptest::sample::subsequence(all, 1..7).prop_shuffle().prop_filter("only none", useful);
    (1usize..5, operations, 1usize..4, 1..=layers, 1..=channels, (sides.clone(), sides)).prop_flat_map(
        |(nodes, operations, stem_multiplier, layers, channels, image_size)| {
            let concat = proptest::sample::subsequence((2..2 + nodes).collect::<Vec<_>>(), 1..=nodes).prop_shuffle();
            let cells = proptest::sample::subsequence((0..layers).collect::<Vec<_>>(), 0..=layers.min(3));
            (concat, proptest::option::of(cells)).prop_map(move |(concat, reductions)| {
                let (kind, name, operations) = (CellKind::Convolutional, "random".to_string(), operations.clone());
                let space = Space { name, kind, operations, nodes, concat, reductions, stem_multiplier };
                (space, Geometry { channels, layers, num_classes: 10, in_channels: 3, image_size })
            })
        },
    )
}
