//! "s1": the published cells with two candidates per edge, different in each cell ("Understanding and Robustifying
//! Differentiable Architecture Search", Zela et al. 2020, section 3 and appendix).

use super::darts::with_operations;
use crate::space::Operation::{
    AvgPool3x3 as Avg, DilConv3x3 as Dil3, DilConv5x5 as Dil5, MaxPool3x3 as Max, SepConv3x3 as Sep3,
    SkipConnect as Skip,
};
use crate::space::{Candidates, Domain, Operation, Space};

/// The candidates of the normal cell, edge by edge.
const NORMAL: [[Operation; 2]; 14] = [
    [Skip, Dil3], // into node 2
    [Skip, Dil5],
    [Skip, Dil5], // into node 3
    [Skip, Sep3],
    [Skip, Dil3],
    [Max, Skip], // into node 4
    [Skip, Sep3],
    [Skip, Sep3],
    [Skip, Dil3],
    [Skip, Sep3], // into node 5
    [Max, Skip],
    [Skip, Dil3],
    [Dil3, Dil5],
    [Dil3, Dil5],
];

/// The candidates of the reduction cell.
const REDUCE: [[Operation; 2]; 14] = [
    [Max, Avg], // into node 2
    [Max, Dil3],
    [Max, Avg], // into node 3
    [Max, Avg],
    [Skip, Dil5],
    [Max, Avg], // into node 4
    [Max, Sep3],
    [Skip, Dil3],
    [Skip, Dil5],
    [Max, Avg], // into node 5
    [Max, Avg],
    [Skip, Dil5],
    [Skip, Dil5],
    [Skip, Dil5],
];

pub(super) fn space() -> Space {
    let lists = |edges: [[Operation; 2]; 14]| Candidates::of_edges(edges.map(Vec::from).to_vec());
    with_operations("s1", [lists(NORMAL), lists(REDUCE)], Domain::Images)
}
