//! Partial channels, weighted edges and the auxiliary skip in plans; that they compute what they should is tested in
//! Python against plain PyTorch.

use proptest::prelude::*;
use pydarts::arch::TableRole;
use pydarts::config::Rewrite;
use pydarts::plan::{EdgeOptions, Geometry, Op, Plan, passes};
use pydarts::space::{Reads, Space};

const ALL: EdgeOptions = EdgeOptions {
    partial_channels: 4,
    edge_normalization: true,
    auxiliary_skip: true,
    drop_path: false,
    skip_dropout: false,
};

fn lowered(space: &str, edges: EdgeOptions, channels: usize, size: (usize, usize)) -> Plan {
    let geometry = Geometry { channels, layers: 3, num_classes: 3, in_channels: 2, image_size: size };
    Plan::lower_with(&Space::preset(space).unwrap(), &geometry, edges, None).unwrap()
}

fn rewritten(plan: Plan) -> Plan {
    passes::rewrite(plan, Rewrite::of(Reads::Images), usize::MAX).unwrap()
}

fn count(plan: &Plan, is: impl Fn(&Op) -> bool) -> usize {
    plan.instructions.iter().filter(|i| is(&i.op)).count()
}

#[test]
fn the_default_options_lower_to_the_published_plan() {
    let geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 2, image_size: (8, 8) };
    let published = Plan::lower(&Space::default(), &geometry).unwrap();
    assert_eq!(lowered("darts", EdgeOptions::default(), 4, (8, 8)), published);
    assert_eq!(count(&published, |op| matches!(op, Op::Cut { .. } | Op::Shuffle { .. })), 0);
}

#[test]
fn a_node_is_shuffled_once_and_shared_sums_of_bypasses_are_computed_once() {
    let plan = lowered("darts", EdgeOptions { partial_channels: 4, ..EdgeOptions::default() }, 8, (8, 8));
    let fast = rewritten(plan.clone());
    let shuffles = |plan: &Plan| count(plan, |op| matches!(op, Op::Shuffle { .. }));
    assert_eq!((shuffles(&plan), shuffles(&fast)), (3 * 4, 3 * 4));
    // 2, 3, 4 and 5 bypasses enter the nodes of a cell: each sum but the first begins with the one before it.
    let sums = |plan: &Plan| {
        let bypass = |i: &&pydarts::plan::Instruction| i.op == Op::Add && i.shape.channels().is_multiple_of(6);
        plan.instructions.iter().filter(bypass).count()
    };
    assert_eq!((sums(&plan), sums(&fast)), (3 * (1 + 2 + 3 + 4), 3 * 4));
}

#[test]
fn weighted_edges_have_a_table_per_kind_of_cell_and_the_skip_a_constant() {
    let plan = lowered("darts", ALL, 8, (8, 8));
    let names = |tables: &[pydarts::arch::LogitTable]| tables.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plan.alphas), ["normal", "reduce", "normal.beta", "reduce.beta"]);
    assert_eq!(names(&plan.constants), ["auxiliary_skip"]);
    assert_eq!(plan.cost().alphas, 2 * 14 * (8 + 1));
    let roles: Vec<TableRole> = plan.alphas.iter().map(|table| table.role).collect();
    assert_eq!(roles[2..], [TableRole::EdgeWeights; 2]);
    assert_eq!(plan.alphas[0].edge_weights_in(&plan.alphas), Some(2));
    assert_eq!(plan.alphas[2].edge_weights_in(&plan.alphas), None);
    let text = plan.explain();
    for words in ["1/4 of the channels", "weighted edges", "auxiliary skips", "shuffle by 2", "m(normal.beta)"] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn one_channel_is_left_where_k_is_larger() {
    let plan = lowered("darts", EdgeOptions { partial_channels: 100, ..EdgeOptions::default() }, 3, (8, 8));
    assert!(plan.weights.iter().any(|w| w.name.ends_with("sep_conv_3x3.dw1.weight") && w.shape == [1, 1, 3, 3]));
    assert!(plan.weights.iter().any(|w| w.name.ends_with("skip_connect.conv_2.weight") && w.shape == [1, 1, 1, 1]));
    assert!(!plan.weights.iter().any(|w| w.name.ends_with("skip_connect.conv_1.weight")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_pass_keeps_the_invariants(
        partial_channels in 1usize..6,
        edge_normalization: bool,
        auxiliary_skip: bool,
        channels in 2usize..9,
        size in (4usize..12, 4usize..12),
        sequences: bool,
        largest in prop_oneof![Just(0usize), Just(64), Just(usize::MAX)],
    ) {
        let edges = EdgeOptions { partial_channels, edge_normalization, auxiliary_skip, ..EdgeOptions::default() };
        let (space, size) = if sequences { ("darts-1d", (1, size.1)) } else { ("darts", size) };
        let plan = lowered(space, edges, channels, size);
        plan.check().unwrap();
        let fast = passes::rewrite(plan.clone(), Rewrite::of(Reads::Images), largest).unwrap();
        let mut names = [&plan, &fast].map(|plan| plan.weights.iter().map(|w| &w.name).collect::<Vec<_>>());
        names.iter_mut().for_each(|names| names.sort());
        prop_assert_eq!(&names[0], &names[1]);
        prop_assert_eq!(plan.cost().multiply_adds, fast.cost().multiply_adds);
    }
}
