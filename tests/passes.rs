//! The pass `share`: what several edges compute alike is computed once, and nothing else changes.

use proptest::prelude::*;
use pydarts::plan::passes::{self, Share};
use pydarts::plan::{Geometry, Op, Plan};
use pydarts::space::{Operation, Space};

fn plan(space: &Space, layers: usize, size: usize) -> Plan {
    let geometry = Geometry { channels: 4, layers, num_classes: 3, in_channels: 2, image_size: (size, size) };
    Plan::lower(space, &geometry).unwrap()
}

fn count(plan: &Plan, is: impl Fn(&Op) -> bool) -> usize {
    plan.instructions.iter().filter(|i| is(&i.op)).count()
}

#[test]
fn a_node_is_pooled_once_however_many_edges_leave_it() {
    let space = Space::preset("darts").unwrap();
    let lowered = plan(&space, 1, 8);
    let shared = passes::run(lowered.clone(), &[&Share]).unwrap();
    let pools = |p: &Plan| count(p, |op| matches!(op, Op::MaxPool { .. } | Op::AvgPool { .. }));
    // Fourteen edges leave five nodes; the last two edges' sources are read once.
    assert_eq!((pools(&lowered), pools(&shared)), (28, 10));
    assert_eq!(shared.passes, ["share"]);
    assert_eq!(lowered.cost().multiply_adds - shared.cost().multiply_adds, 0);
    assert!(shared.cost().activation_elements_weight_loss < lowered.cost().activation_elements_weight_loss);
}

#[test]
fn sharing_twice_changes_nothing_more() {
    let space = Space::preset("darts").unwrap();
    let once = passes::run(plan(&space, 3, 8), &[&Share]).unwrap();
    let twice = passes::run(once.clone(), &[&Share]).unwrap();
    assert_eq!(once.instructions, twice.instructions);
}

/// Every running statistic is moved by exactly one batch norm.
fn moved(plan: &Plan) -> Vec<usize> {
    let mut all = Vec::new();
    for instruction in &plan.instructions {
        if let Op::BatchNorm { statistic, aliases, .. } = &instruction.op {
            all.push(statistic.0);
            all.extend(aliases.iter().map(|a| a.0));
        }
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_weight_no_statistic_and_no_mixture_is_lost(
        nodes in 1usize..5, layers in 1usize..5, size in 6usize..12, chosen in prop::sample::subsequence(
            Operation::ALL.iter().copied().filter(|o| o.is_convolutional()).collect::<Vec<_>>(), 2..=12),
    ) {
        prop_assume!(chosen.iter().any(|o| *o != Operation::None));
        let names: Vec<String> = chosen.iter().map(|o| format!("\"{}\"", o.name())).collect();
        let text = format!("{{\"nodes\": {nodes}, \"operations\": [{}]}}", names.join(","));
        let space = Space::from_json(&text).unwrap();
        let lowered = plan(&space, layers, size);
        let shared = passes::run(lowered.clone(), &[&Share]).unwrap();
        prop_assert!(shared.check().is_ok());
        prop_assert_eq!(moved(&shared), moved(&lowered));
        prop_assert_eq!(&shared.weights, &lowered.weights);
        for weighted in [|op: &Op| matches!(op, Op::Conv { .. }), |op: &Op| matches!(op, Op::Mix { .. })] {
            prop_assert_eq!(count(&shared, weighted), count(&lowered, weighted));
        }
        let alike = |op: &Op| matches!(op, Op::Relu | Op::Shift | Op::MaxPool { .. } | Op::AvgPool { .. });
        for (index, one) in shared.instructions.iter().enumerate() {
            for other in &shared.instructions[index + 1..] {
                prop_assert!(!(alike(&one.op) && one.op == other.op && one.inputs == other.inputs));
            }
        }
    }
}
