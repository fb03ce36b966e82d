//! The passes as rewrites of plans: each does what it says, and nothing else changes. That they compute the same is
//! tested in `equivalence.rs`.

use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::config::Rewrite;
use pydarts::plan::passes;
use pydarts::plan::{EdgeOptions, Geometry, Instruction, Op, Plan, Scale};
use pydarts::space::{Reads, Space};

/// The passes over convolutional plans.
fn all() -> &'static [Rewrite] {
    Rewrite::of(Reads::Images)
}

fn plan(space: &Space, layers: usize, size: usize) -> Plan {
    let geometry = Geometry { channels: 4, layers, num_classes: 3, in_channels: 2, image_size: (size, size) };
    Plan::lower(space, &geometry).unwrap()
}

/// The plan after some passes, all groups written as one.
fn rewrite(plan: Plan, passes: &[Rewrite]) -> Plan {
    passes::rewrite(plan, passes, usize::MAX).unwrap()
}

fn count(plan: &Plan, is: impl Fn(&Op) -> bool) -> usize {
    plan.instructions.iter().filter(|i| is(&i.op)).count()
}

#[test]
fn a_node_is_pooled_once_however_many_edges_leave_it() {
    let space = Space::preset("darts").unwrap();
    let lowered = plan(&space, 1, 8);
    let shared = rewrite(lowered.clone(), &[Rewrite::Share]);
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
    let once = rewrite(plan(&space, 3, 8), &[Rewrite::Share]);
    let twice = rewrite(once.clone(), &[Rewrite::Share]);
    assert_eq!(once.instructions, twice.instructions);
}

#[test]
fn no_convolution_stays_dilated_where_images_can_be_split() {
    let space = Space::preset("darts").unwrap();
    let lowered = plan(&space, 3, 8);
    let split = rewrite(lowered.clone(), &[Rewrite::SpaceToBatch]);
    let dilated = |p: &Plan| count(p, |op| matches!(op, Op::Conv { dilation: 2.., .. }));
    assert_eq!((dilated(&lowered), dilated(&split)), (3 * 14 * 2, 0));
    // Strided edges, eight in each of the two reduction cells, read one phase; 26 edges read all of them.
    assert_eq!(count(&split, |op| matches!(op, Op::Subsample { .. })), 2 * 8 * 2);
    assert_eq!(count(&split, |op| matches!(op, Op::SpaceToBatch { .. })), 2 * 26);
    // What a node receives in phases is put together once; a node of the cells' last images can be split no more.
    assert_eq!(split.cost().multiply_adds, lowered.cost().multiply_adds);
    assert_eq!(split.cost().weights, lowered.cost().weights);
}

#[test]
fn a_node_puts_its_phases_together_once() {
    let space = Space::preset("darts").unwrap();
    let split = rewrite(plan(&space, 1, 8), &[Rewrite::SpaceToBatch]);
    assert_eq!(count(&split, |op| matches!(op, Op::BatchToSpace { .. })), 3, "one node reads strided edges only");
}

#[test]
fn images_of_odd_size_keep_their_dilated_convolutions() {
    let space = Space::from_json(r#"{"operations": ["dil_conv_3x3"], "reductions": []}"#).unwrap();
    let lowered = plan(&space, 1, 9);
    let split = rewrite(lowered.clone(), &[Rewrite::SpaceToBatch]);
    assert_eq!(split.instructions, lowered.instructions);
}

#[test]
fn edges_that_leave_one_node_are_convolved_together() {
    let space = Space::preset("darts").unwrap();
    let lowered = plan(&space, 3, 8);
    let grouped = rewrite(lowered.clone(), all());
    // In a cell 14 edges of twelve convolutions leave five nodes; the strided skips stay apart.
    let separable = |p: &Plan| {
        let is = |it: &Instruction| it.scope.operations().iter().any(|operation| operation.name().contains("_conv_"));
        p.instructions.iter().filter(|it| matches!(it.op, Op::Conv { .. }) && is(it)).count()
    };
    assert_eq!((separable(&lowered), separable(&grouped)), (3 * 14 * 12, 3 * 5 * 12));
    let of = |name: &str| grouped.weights.iter().position(|weight| weight.name == name).unwrap();
    let first = of("cells.0.edges.0_2.sep_conv_3x3.dw1.weight");
    for (offset, edge) in ["0_3", "0_4", "0_5"].iter().enumerate() {
        assert_eq!(of(&format!("cells.0.edges.{edge}.sep_conv_3x3.dw1.weight")), first + 1 + offset);
    }
}

#[test]
fn after_folding_only_what_is_shared_or_not_normalised_is_mixed() {
    let space = Space::preset("darts").unwrap();
    let lowered = plan(&space, 1, 8);
    let folded = rewrite(lowered.clone(), &[Rewrite::Fold]);
    let scaled = |p: &Plan| count(p, |op| matches!(op, Op::BatchNorm { scale: Scale::Mixing { .. }, .. }));
    // On each of 14 edges two poolings and four convolutions end in a batch norm, on eight the strided skip too.
    assert_eq!((scaled(&lowered), scaled(&folded)), (0, 14 * 6 + 8));
    let mixed = |p: &Plan| -> usize {
        let terms = p.instructions.iter().map(|it| if let Op::Mix { terms, .. } = &it.op { terms.len() } else { 0 });
        terms.sum()
    };
    assert_eq!((mixed(&lowered), mixed(&folded)), (14 * 7, 6));
    let kept = |p: &Plan| p.cost().activation_elements_arch_loss;
    assert!(kept(&folded) < kept(&lowered));
    let shared = rewrite(lowered, &[Rewrite::Share, Rewrite::Fold]);
    // The poolings of the first four nodes are read by several mixtures, those of the last by one.
    assert_eq!(mixed(&shared), 6 + 2 * 13);
}

/// Every running statistic is moved by exactly one batch norm.
fn moved(plan: &Plan) -> Vec<usize> {
    let mut all = Vec::new();
    for instruction in &plan.instructions {
        if let Op::BatchNorm { statistic, members, aliases, .. } = &instruction.op {
            all.extend(statistic.0..statistic.0 + members);
            all.extend(aliases.iter().map(|a| a.0));
        }
    }
    all.sort_unstable();
    all
}

/// The names of the weights in use by a convolution, each once.
fn kernels(plan: &Plan) -> Vec<&str> {
    let mut all = Vec::new();
    for instruction in &plan.instructions {
        if let Op::Conv { weight, members, .. } = &instruction.op {
            all.extend(plan.weights[weight.0..weight.0 + members].iter().map(|weight| weight.name.as_str()));
        }
    }
    all.sort_unstable();
    all
}

/// Cell, table, row and column of every mixing weight in use.
fn terms(plan: &Plan) -> Vec<(String, usize, usize, usize)> {
    let mut all = Vec::new();
    for instruction in &plan.instructions {
        let Some((alpha, cells)) = instruction.op.mixing() else { continue };
        all.extend(cells.into_iter().map(|(row, column)| (instruction.scope.module.to_string(), alpha.0, row, column)));
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_weight_no_statistic_and_no_mixture_is_lost(
        (space, geometry) in spaces(5, 4, 2..14),
        which in prop::sample::subsequence(all().to_vec(), 0..=all().len()),
    ) {
        let Ok(lowered) = Plan::lower(&space, &geometry) else { return Ok(()) };
        let rewritten = rewrite(lowered.clone(), &which);
        prop_assert!(rewritten.check().is_ok());
        prop_assert_eq!(moved(&rewritten), moved(&lowered));
        let names = |p: &Plan| {
            let mut names: Vec<String> = p.weights.iter().map(|w| format!("{} {:?}", w.name, w.shape)).collect();
            names.sort_unstable();
            names
        };
        prop_assert_eq!(names(&rewritten), names(&lowered));
        prop_assert_eq!(kernels(&rewritten), kernels(&lowered));
        prop_assert_eq!(rewritten.cost().multiply_adds, lowered.cost().multiply_adds);
        // No term is lost, whether it is mixed or scales a batch norm: a pooling that is shared scales none.
        prop_assert_eq!(terms(&rewritten), terms(&lowered));
        let once = which.contains(&Rewrite::Share);
        let alike = |op: &Op| matches!(op, Op::Relu | Op::Shift { .. } | Op::Pad { .. } | Op::MaxPool { .. } | Op::AvgPool { .. });
        for (index, one) in rewritten.instructions.iter().enumerate().filter(|_| once) {
            for other in &rewritten.instructions[index + 1..] {
                prop_assert!(!(alike(&one.op) && one.op == other.op && one.inputs == other.inputs));
            }
        }
    }
}

/// Each edge dropped, elements of skip connections dropped, or both.
fn dropped() -> impl Strategy<Value = EdgeOptions> {
    prop::sample::select(vec![(true, false), (false, true), (true, true)])
        .prop_map(|(drop_path, skip_dropout)| EdgeOptions { drop_path, skip_dropout, ..EdgeOptions::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_mask_is_applied_once_whatever_the_passes(
        (space, geometry) in ragged(5, 4, 2..14),
        edges in dropped(),
        which in prop::sample::subsequence(all().to_vec(), 0..=all().len()),
    ) {
        let Ok(lowered) = Plan::lower_with(&space, &geometry, edges, None) else { return Ok(()) };
        let rewritten = rewrite(lowered.clone(), &which);
        prop_assert!(rewritten.check().is_ok());
        let mut masks: Vec<usize> = rewritten
            .instructions
            .iter()
            .filter_map(|it| if let Op::Drop { mask } = it.op { Some(mask.0) } else { None })
            .collect();
        masks.sort_unstable();
        prop_assert_eq!(masks, (0..lowered.masks.len()).collect::<Vec<_>>());
        prop_assert_eq!(&rewritten.masks, &lowered.masks);
        prop_assert_eq!(terms(&rewritten), terms(&lowered));
        prop_assert_eq!(moved(&rewritten), moved(&lowered));
        prop_assert_eq!(kernels(&rewritten), kernels(&lowered));
    }
}

#[test]
fn drop_path_keeps_the_benefit_of_every_pass() {
    let geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 2, image_size: (8, 8) };
    let edges = EdgeOptions { drop_path: true, ..EdgeOptions::default() };
    let space = Space::preset("darts").unwrap();
    let counts = |plan: Plan| {
        let plan = rewrite(plan, all());
        [
            count(&plan, |op| matches!(op, Op::Conv { .. })),
            count(&plan, |op| matches!(op, Op::BatchNorm { .. })),
            count(&plan, |op| matches!(op, Op::MaxPool { .. } | Op::AvgPool { .. })),
            count(&plan, |op| matches!(op, Op::Mixtures { .. })),
        ]
    };
    // Blocks of different source nodes are dropped apart, but those of one are added before they part.
    let slices = |passes: &[Rewrite]| {
        let dropped = Plan::lower_with(&space, &geometry, edges, None).unwrap();
        count(&rewrite(dropped, passes), |op| matches!(op, Op::Slice { .. }))
    };
    let without_sum: Vec<Rewrite> = all().iter().copied().filter(|pass| *pass != Rewrite::Sum).collect();
    assert!(slices(all()) < slices(&without_sum));
    let plain = Plan::lower(&space, &geometry).unwrap();
    let dropped = Plan::lower_with(&space, &geometry, edges, None).unwrap();
    assert_eq!(counts(dropped.clone()), counts(plain.clone()));
    assert_eq!(dropped.masks.len(), 3 * 14);
    assert_eq!((&dropped.weights, &dropped.statistics), (&plain.weights, &plain.statistics));
}

/// Two nodes and every kind of operation that a pass knows, in a normal cell and a reduction.
fn small() -> Plan {
    let space = r#"{"name": "small", "nodes": 2, "operations":
        ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"]}"#;
    let geometry = Geometry { channels: 4, layers: 2, num_classes: 10, in_channels: 3, image_size: (8, 8) };
    Plan::lower(&Space::from_json(space).unwrap(), &geometry).unwrap()
}

#[test]
fn explain_shows_the_plan_before_and_after_each_pass() {
    let mut plan = small();
    insta::assert_snapshot!("before_the_passes", plan.explain());
    for pass in all() {
        plan = rewrite(plan, &[*pass]);
        insta::assert_snapshot!(format!("after_{}", plan.passes.last().unwrap()), plan.explain());
    }
}
