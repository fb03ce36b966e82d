//! Plans: the lowered network against restatements of its names, counts and shapes.

use std::collections::HashMap;

use pydarts::config::SearchConfig;
use pydarts::error::ErrorKind;
use pydarts::plan::{AlphaId, Geometry, Init, Language, Module, Op, Plan, Scope, Sizes};
use pydarts::space::{Space, Stages};

fn darts() -> Space {
    Space::preset("darts").unwrap()
}

/// The space with reduction cells in these positions.
fn reducing(mut space: Space, reductions: Option<Vec<usize>>) -> Space {
    space.network.stages = Stages::Chain { reductions };
    space
}

pub(crate) fn geometry(channels: usize, layers: usize, size: (usize, usize)) -> Geometry {
    Geometry { channels, layers, num_classes: 10, in_channels: 3, image_size: size }
}

fn default_plan() -> Plan {
    Plan::lower(&darts(), &geometry(16, 8, (32, 32))).unwrap()
}

/// One node, four operations, three cells of which the last two are reductions.
pub(crate) fn tiny() -> Plan {
    let space =
        r#"{"name": "tiny", "nodes": 1, "operations": ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"]}"#;
    Plan::lower(&Space::from_json(space).unwrap(), &geometry(4, 3, (9, 8))).unwrap()
}

fn weight_names(plan: &Plan) -> Vec<&str> {
    plan.weights.iter().map(|weight| weight.name.as_str()).collect()
}

#[test]
fn the_default_network_has_the_published_number_of_weights() {
    let plan = default_plan();
    assert_eq!(plan.cost().weights, 1_930_618);
    assert_eq!(plan.cost().alphas, 2 * 14 * 8);
}

#[test]
fn a_configuration_has_the_plan_of_its_space_or_says_which_size_is_missing() {
    let of = |text: &str| Plan::of_config(&SearchConfig::from_json(text).unwrap(), None);
    let images = r#"{"num_classes": 10, "in_channels": 3, "image_size": 32}"#;
    assert_eq!(of(images).unwrap(), default_plan());
    let words = of(r#"{"space": "darts-rnn", "num_classes": 10000}"#).unwrap();
    assert_eq!(words.sizes, Sizes::Words(Language { words: 10_000, units: 300 }));
    for (text, missing) in [
        ("{}", "num_classes"),
        (r#"{"num_classes": 10}"#, "in_channels"),
        (r#"{"num_classes": 10, "in_channels": 3}"#, "image_size"),
    ] {
        let error = of(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.detail.starts_with(&format!("`{missing}` is not known")), "{error}");
    }
}

#[test]
fn the_default_plan_costs_what_autograd_was_seen_to_keep() {
    // The elements were counted once in PyTorch 2.11, with a hook on every tensor that its autograd saves during the
    // forward pass of a plainly written network of this size.
    let cost = default_plan().cost();
    assert_eq!(cost.activation_elements_weight_loss, 22_510_848);
    assert_eq!(cost.activation_elements_arch_loss, 28_458_240);
    assert_eq!(cost.pooling_indices, 974_848);
    let indices = 8 * 974_848;
    assert_eq!(cost.bytes_per_example(4), (4 * 28_458_240 + indices, 4 * 22_510_848 + indices));
    let text = cost.to_string();
    assert!(text.contains("1,930,618") && text.contains("93.3 MiB") && text.contains("116.0 MiB"), "{text}");
}

#[test]
fn weights_are_named_as_documented_in_the_order_of_first_use() {
    let names = weight_names(&tiny()).join("\n");
    let expected = "\
stem.conv.weight
stem.bn.weight
stem.bn.bias
cells.0.pre0.conv.weight
cells.0.pre1.conv.weight
cells.0.edges.0_2.sep_conv_3x3.dw1.weight
cells.0.edges.0_2.sep_conv_3x3.pw1.weight
cells.0.edges.0_2.sep_conv_3x3.dw2.weight
cells.0.edges.0_2.sep_conv_3x3.pw2.weight
cells.0.edges.1_2.sep_conv_3x3.dw1.weight
cells.0.edges.1_2.sep_conv_3x3.pw1.weight
cells.0.edges.1_2.sep_conv_3x3.dw2.weight
cells.0.edges.1_2.sep_conv_3x3.pw2.weight
cells.1.pre0.conv.weight
cells.1.pre1.conv.weight
cells.1.edges.0_2.skip_connect.conv_1.weight
cells.1.edges.0_2.skip_connect.conv_2.weight
cells.1.edges.0_2.sep_conv_3x3.dw1.weight
cells.1.edges.0_2.sep_conv_3x3.pw1.weight
cells.1.edges.0_2.sep_conv_3x3.dw2.weight
cells.1.edges.0_2.sep_conv_3x3.pw2.weight
cells.1.edges.1_2.skip_connect.conv_1.weight
cells.1.edges.1_2.skip_connect.conv_2.weight
cells.1.edges.1_2.sep_conv_3x3.dw1.weight
cells.1.edges.1_2.sep_conv_3x3.pw1.weight
cells.1.edges.1_2.sep_conv_3x3.dw2.weight
cells.1.edges.1_2.sep_conv_3x3.pw2.weight
cells.2.pre0.conv_1.weight
cells.2.pre0.conv_2.weight
cells.2.pre1.conv.weight
cells.2.edges.0_2.skip_connect.conv_1.weight
cells.2.edges.0_2.skip_connect.conv_2.weight
cells.2.edges.0_2.sep_conv_3x3.dw1.weight
cells.2.edges.0_2.sep_conv_3x3.pw1.weight
cells.2.edges.0_2.sep_conv_3x3.dw2.weight
cells.2.edges.0_2.sep_conv_3x3.pw2.weight
cells.2.edges.1_2.skip_connect.conv_1.weight
cells.2.edges.1_2.skip_connect.conv_2.weight
cells.2.edges.1_2.sep_conv_3x3.dw1.weight
cells.2.edges.1_2.sep_conv_3x3.pw1.weight
cells.2.edges.1_2.sep_conv_3x3.dw2.weight
cells.2.edges.1_2.sep_conv_3x3.pw2.weight
classifier.weight
classifier.bias";
    assert_eq!(names, expected);
}

#[test]
fn statistics_are_named_as_documented() {
    let plan = tiny();
    let names: Vec<&str> = plan.statistics.iter().map(|statistic| statistic.name.as_str()).collect();
    let of_cell = |cell: usize, skip: bool| {
        let mut names = vec![format!("cells.{cell}.pre0.bn"), format!("cells.{cell}.pre1.bn")];
        for edge in ["0_2", "1_2"] {
            let edge = format!("cells.{cell}.edges.{edge}");
            names.push(format!("{edge}.max_pool_3x3.bn"));
            names.extend(skip.then(|| format!("{edge}.skip_connect.bn")));
            names.push(format!("{edge}.sep_conv_3x3.bn1"));
            names.push(format!("{edge}.sep_conv_3x3.bn2"));
        }
        names
    };
    let expected = [vec!["stem.bn".to_string()], of_cell(0, false), of_cell(1, true), of_cell(2, true)].concat();
    assert_eq!(names, expected);
}

#[test]
fn weights_start_as_the_usual_layers_draw_them() {
    let plan = default_plan();
    let init: HashMap<&str, Init> = plan.weights.iter().map(|weight| (weight.name.as_str(), weight.init)).collect();
    assert_eq!(init["stem.conv.weight"], Init::FanIn(27));
    assert_eq!((init["stem.bn.weight"], init["stem.bn.bias"]), (Init::Constant(1.0), Init::Constant(0.0)));
    assert_eq!(init["cells.1.pre1.conv.weight"], Init::FanIn(64));
    assert_eq!(init["cells.0.edges.0_2.sep_conv_5x5.dw1.weight"], Init::FanIn(25));
    assert_eq!(init["cells.0.edges.0_2.sep_conv_5x5.pw1.weight"], Init::FanIn(16));
    assert_eq!((init["classifier.weight"], init["classifier.bias"]), (Init::FanIn(256), Init::FanIn(256)));
}

#[test]
fn both_tables_stand_even_where_no_cell_uses_one() {
    let space = Space::from_json(r#"{"reductions": []}"#).unwrap();
    let plan = Plan::lower(&space, &geometry(2, 2, (8, 8))).unwrap();
    let names: Vec<&str> = plan.alphas.iter().map(|alpha| alpha.name.as_str()).collect();
    assert_eq!(names, ["normal", "reduce"]);
}

#[test]
fn a_mixture_takes_every_operation_but_none_of_every_edge_into_its_node() {
    let plan = default_plan();
    let mixes: Vec<_> = plan.instructions.iter().filter(|it| it.scope == Scope::node(Module::Cell(2), 3)).collect();
    let [mix] = mixes[..] else { panic!("{} mixtures", mixes.len()) };
    let expected: Vec<(usize, usize)> = (2..5).flat_map(|row| (1..8).map(move |column| (row, column))).collect();
    assert_eq!(mix.op, Op::Mix { alpha: AlphaId(1), terms: expected });
}

#[test]
fn reductions_stand_at_a_third_and_two_thirds_unless_the_space_says_otherwise() {
    let reduced = |space: &Space, layers: usize| -> Vec<usize> {
        let plan = Plan::lower(space, &geometry(2, layers, (64, 64))).unwrap();
        let tables = plan.instructions.iter().filter_map(|it| match &it.op {
            Op::Mix { alpha: AlphaId(1), .. } => match it.scope.module {
                Module::Cell(cell) => Some(cell),
                _ => None,
            },
            _ => None,
        });
        tables.collect::<std::collections::BTreeSet<usize>>().into_iter().collect()
    };
    let own = Space::from_json(r#"{"nodes": 1, "operations": ["conv_1x1"], "reductions": [3, 1]}"#).unwrap();
    let published = reducing(own.clone(), None);
    assert_eq!(reduced(&published, 8), [2, 5]);
    assert_eq!(reduced(&published, 3), [1, 2]);
    assert_eq!(reduced(&published, 2), [0, 1]);
    assert_eq!(reduced(&published, 1), [0]);
    assert_eq!(reduced(&own, 4), [1, 3]);
}

#[test]
fn what_cannot_be_built_is_refused_with_the_cell_the_size_and_the_remedy() {
    let refused = |space: &Space, geometry: &Geometry| {
        let error = Plan::lower(space, geometry).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Space);
        error.detail
    };
    let good = geometry(4, 8, (32, 32));
    for (geometry, reason) in [
        (Geometry { channels: 0, ..good }, "`channels` is 0; it must be from 1 to 4096"),
        (Geometry { layers: 0, ..good }, "`layers` is 0"),
        (Geometry { num_classes: 0, ..good }, "`num_classes` is 0"),
        (Geometry { in_channels: usize::MAX, ..good }, "`in_channels` is"),
        (Geometry { image_size: (32, 0), ..good }, "`image_size` is 32x0"),
        (Geometry { image_size: (usize::MAX, 4), ..good }, "`image_size` is"),
        (
            Geometry { image_size: (1, 9), ..good },
            "cell 2 is a reduction cell and its input is 1x9; a reduction needs at least 2x2. Use images larger than 1x9",
        ),
        (Geometry { image_size: (9, 2), ..good }, "cell 5 is a reduction cell and its input is 5x1"),
    ] {
        let detail = refused(&darts(), &geometry);
        assert!(detail.contains(reason), "{detail}");
    }
    let space = reducing(darts(), Some(vec![8]));
    let detail = refused(&space, &good);
    assert!(detail.contains("`reductions` names cell 8; a network of 8 layers has the cells 0 to 7"), "{detail}");
    let detail = refused(&Space::preset("darts-rnn").unwrap(), &good);
    assert!(detail.contains("it reads words, not images"), "{detail}");
}

#[test]
fn explain_shows_the_lowered_plan_of_s1() {
    let space = Space::preset("s1").unwrap();
    let plan = Plan::lower(&space, &geometry(4, 3, (8, 8))).unwrap();
    insta::assert_snapshot!("the_lowered_plan_of_s1", plan.explain());
}

#[test]
fn explain_shows_every_part_of_a_tiny_network() {
    insta::assert_snapshot!(tiny().explain());
}

#[test]
fn explain_stays_readable_for_the_default_network() {
    let text = default_plan().explain();
    assert!(text.lines().count() < 250, "{} lines", text.lines().count());
    for part in ["cells 0, 1: normal", "cell 2: reduce", "cells 3, 4: normal", "passes   none", "1,930,618"] {
        assert!(text.contains(part), "`{part}` is missing");
    }
}
