//! Random convolutional spaces and networks of them.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use pydarts::plan::Geometry;
use pydarts::space::{Candidates, Domain, Operation, Output, Space, Stages, Stem};

/// A space and a network of it.
pub type Sized = (Space, Geometry);

/// Spaces with up to four nodes and six operations, in networks of up to so many layers and channels on images of such
/// sides, or sequences of such lengths. Some cannot be lowered: their last reduction has nothing left to halve.
pub fn spaces(layers: usize, channels: usize, sides: Range<usize>) -> impl Strategy<Value = Sized> {
    (1usize..5, domains()).prop_flat_map(move |(nodes, domain)| {
        let sides = sides.clone();
        lists(7, domain).prop_flat_map(move |list| {
            let operations = [Candidates::Everywhere(list.clone()), Candidates::Everywhere(list)];
            of_cells((nodes, domain), operations, layers, channels, sides.clone())
        })
    })
}

fn domains() -> impl Strategy<Value = Domain> {
    prop_oneof![
        2 => Just(Domain::Images),
        1 => any::<bool>().prop_map(|causal| Domain::Sequences { causal }),
    ]
}

/// As `spaces`, but each cell has its own lists of up to three operations: one, or one per edge. Each list is one of a
/// few, so that some edges are alike.
pub fn ragged(layers: usize, channels: usize, sides: Range<usize>) -> impl Strategy<Value = Sized> {
    let few = domains().prop_flat_map(|domain| (Just(domain), proptest::collection::vec(lists(4, domain), 1..5)));
    let which = || proptest::collection::vec(any::<Index>(), 18);
    let everywhere = proptest::bool::weighted(0.2);
    (1usize..5, few, [which(), which()], everywhere).prop_flat_map(move |(nodes, (domain, few), which, everywhere)| {
        let edges = (2..2 + nodes).sum();
        let operations = which.map(|which| match everywhere {
            true => Candidates::Everywhere(which[0].get(&few).clone()),
            false => Candidates::of_edges(which[..edges].iter().map(|index| index.get(&few).clone()).collect()),
        });
        of_cells((nodes, domain), operations, layers, channels, sides.clone())
    })
}

/// Lists of fewer than `size` operations, not only of `none`.
fn lists(size: usize, domain: Domain) -> impl Strategy<Value = Vec<Operation>> {
    let fits = |operation: &Operation| operation.is_convolutional() && operation.suits(domain.dimensions());
    let all: Vec<Operation> = Operation::ALL.iter().copied().filter(fits).collect();
    let useful = |operations: &Vec<Operation>| *operations != [Operation::None];
    subsequence(all, 1..size).prop_shuffle().prop_filter("only none", useful)
}

fn of_cells(
    (nodes, domain): (usize, Domain),
    operations: [Candidates; 2],
    layers: usize,
    channels: usize,
    sides: Range<usize>,
) -> impl Strategy<Value = Sized> {
    (1usize..4, 1..=layers, 1..=channels, (sides.clone(), sides)).prop_flat_map(
        move |(multiplier, layers, channels, image_size)| {
            let concat = subsequence((2..2 + nodes).collect::<Vec<_>>(), 1..=nodes).prop_shuffle();
            let cells = subsequence((0..layers).collect::<Vec<_>>(), 0..=layers.min(3));
            let operations = operations.clone();
            (concat, proptest::option::of(cells)).prop_map(move |(concat, reductions)| {
                let mut space = Space { name: "random".to_string(), ..Space::default() };
                for (cell, operations) in space.cells.iter_mut().zip(operations.clone()) {
                    cell.nodes = nodes;
                    cell.operations = operations;
                    cell.output = Output::Concat(concat.clone());
                }
                space.network.stem = Stem::Convolution { multiplier, domain };
                space.network.stages = Stages::Chain { reductions };
                let (height, width) = image_size;
                let image_size = (if domain == Domain::Images { height } else { 1 }, width);
                (space, Geometry { channels, layers, num_classes: 10, in_channels: 3, image_size })
            })
        },
    )
}
