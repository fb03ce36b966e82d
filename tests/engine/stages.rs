//! Networks of stages with residual blocks between them.

use pydarts::config::Rewrite;
use pydarts::plan::{Geometry, Op, Plan, passes};
use pydarts::space::{Layers, Operation, Reads, Space, Stage, Stages};

fn geometry(channels: usize, layers: usize) -> Geometry {
    Geometry { channels, layers, num_classes: 10, in_channels: 3, image_size: (32, 32) }
}

fn lowered(space: &Space, channels: usize, layers: usize) -> Plan {
    let plan = Plan::lower(space, &geometry(channels, layers)).unwrap();
    plan.check().unwrap();
    plan
}

fn weights(plan: &Plan) -> usize {
    plan.weights.iter().map(|weight| weight.elements()).sum()
}

#[test]
fn the_published_network_has_its_weights() {
    let mut space = Space::preset("nas-bench-201").unwrap();
    assert_eq!(weights(&lowered(&space, 16, 5)), 1_686_106);
    space.cells[0].layers = Layers { bias: true, ..space.cells[0].layers };
    assert_eq!(weights(&lowered(&space, 16, 5)), 1_686_106 + 6_720);
}

#[test]
fn every_node_is_pooled_once() {
    let space = Space::preset("nas-bench-201").unwrap();
    let plain = lowered(&space, 4, 2);
    let pools = |plan: &Plan| {
        let is_pool = |op: &&Op| matches!(op, Op::AvgPool { kernel: [3, 3], .. });
        plan.instructions.iter().map(|instruction| &instruction.op).filter(is_pool).count()
    };
    // Two cells in each of three stages, with six edges that leave three nodes.
    assert_eq!(pools(&plain), 6 * 6);
    let shared = passes::rewrite(plain, &[Rewrite::Share], usize::MAX).unwrap();
    shared.check().unwrap();
    assert_eq!(pools(&shared), 6 * 3);
}

#[test]
fn a_node_and_its_plain_pooling_are_mixed_term_by_term() {
    let is_product = |op: &Op| matches!(op, Op::Mixtures { .. });
    for (name, products) in [("nas-bench-201", false), ("darts", true)] {
        let plan = lowered(&Space::preset(name).unwrap(), 4, 2);
        let plan = passes::rewrite(plan, Rewrite::of(Reads::Images), usize::MAX).unwrap();
        assert_eq!(plan.instructions.iter().any(|instruction| is_product(&instruction.op)), products, "{name}");
    }
}

#[test]
fn only_poolings_without_norm_are_convolutions() {
    for (name, expected) in [("nas-bench-201", true), ("darts", false)] {
        let plan = lowered(&Space::preset(name).unwrap(), 4, 3);
        let convolved = plan.instructions.iter().filter_map(|instruction| match instruction.op {
            Op::AvgPool { kernel: [3, 3], convolve, .. } => Some(convolve),
            _ => None,
        });
        let convolved: Vec<bool> = convolved.collect();
        assert!(!convolved.is_empty() && convolved.iter().all(|convolve| *convolve == expected), "{name}");
    }
}

#[test]
fn cells_and_blocks_are_numbered_through() {
    let plan = lowered(&Space::preset("nas-bench-201").unwrap(), 4, 2);
    let names: Vec<&str> = plan.weights.iter().map(|weight| weight.name.as_str()).collect();
    for (block, width) in [(2, 8), (5, 16)] {
        for name in ["conv_a", "conv_b", "shortcut", "bn_a", "bn_b"] {
            let name = format!("cells.{block}.{name}.weight");
            let weight = plan.weights.iter().find(|weight| weight.name == name).unwrap();
            assert_eq!(weight.shape[0], width, "{name}");
        }
        assert!(!names.iter().any(|name| name.starts_with(&format!("cells.{block}.edges"))));
    }
    assert!(names.contains(&"cells.7.edges.2_3.nor_conv_3x3.conv.weight"));
    assert!(!names.iter().any(|name| name.starts_with("cells.8")));
    assert!(names.contains(&"last.bn.weight"));
}

#[test]
fn a_search_selects_none_and_keeps_every_edge() {
    let space = Space::preset("nas-bench-201").unwrap();
    let [table] = &space.logit_tables()[..] else { panic!("not one table") };
    assert_eq!((table.name.as_str(), table.kept, table.unselectable), ("cell", None, None));
    assert_eq!(table.groups, [vec![0], vec![1, 2], vec![3, 4, 5]]);
    assert!(space.all_operations().contains(&Operation::None));
}

#[test]
fn stages_without_blocks_change_channels_on_the_edges_of_the_input() {
    let space = Space::preset("transnas-bench-101").unwrap();
    let plan = lowered(&space, 4, 2);
    let shape = |name: &str| plan.weights.iter().find(|weight| weight.name == name).map(|weight| weight.shape.clone());
    assert_eq!(shape("stem.conv_a.weight"), Some(vec![2, 3, 3, 3]));
    assert_eq!(shape("stem.conv_b.weight"), Some(vec![4, 2, 3, 3]));
    assert_eq!(shape("cells.0.edges.0_2.nor_conv_1x1.conv.weight"), Some(vec![8, 4, 1, 1]));
    assert_eq!(shape("cells.0.edges.0_2.skip_connect.conv_2.weight"), Some(vec![4, 4, 1, 1]));
    assert_eq!(shape("cells.0.edges.1_2.nor_conv_3x3.conv.weight"), Some(vec![8, 8, 3, 3]));
    assert_eq!(shape("cells.1.edges.0_1.skip_connect.conv_1.weight"), None);
    assert_eq!(shape("cells.8.edges.0_3.nor_conv_3x3.conv.weight"), Some(vec![32, 16, 3, 3]));
    assert_eq!(shape("cells.10.edges.0_1.nor_conv_3x3.conv.weight"), None);
    assert_eq!(shape("last.bn.weight"), None);
    assert_eq!(shape("classifier.weight"), Some(vec![10, 32]));
}

#[test]
fn a_skip_connection_that_changes_the_channels_alone_keeps_the_size() {
    let mut space = Space::preset("transnas-bench-101").unwrap();
    space.network.stages = Stages::Direct { stages: vec![Stage { channels: 2, stride: 1 }] };
    let plan = lowered(&space, 4, 1);
    let shifted = plan.instructions.iter().filter(|instruction| matches!(instruction.op, Op::Shift { .. }));
    let shapes: Vec<Vec<usize>> = shifted.map(|instruction| instruction.shape.0.clone()).collect();
    assert_eq!(shapes, vec![vec![4, 8, 8]; 3]);
}
