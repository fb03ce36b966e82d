//! Spaces: the presets, the numbering of nodes and edges, and what is refused.

use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::error::ErrorKind;
use pydarts::space::{Aggregate, Candidates, CellKind, Domain, Head, Keep, Operation, Output, Space, Stem};
use serde_json::json;

fn refused(text: &str) -> String {
    let error = Space::from_json(text).expect_err(text);
    assert_eq!(error.kind, ErrorKind::Space, "{error}");
    error.detail
}

#[test]
fn the_presets_are_the_published_spaces() {
    let names = |space: &Space| {
        space.uniform_operations().unwrap().iter().map(|operation| operation.name()).collect::<Vec<_>>().join(" ")
    };
    let darts = Space::preset("darts").unwrap();
    assert_eq!(
        names(&darts),
        "none max_pool_3x3 avg_pool_3x3 skip_connect sep_conv_3x3 sep_conv_5x5 dil_conv_3x3 dil_conv_5x5"
    );
    assert_eq!((darts.nodes(), darts.inputs(), darts.edges().len(), darts.kept()), (4, 2, 14, Some(2)));
    assert_eq!((darts.concat(), darts.network.stem_multiplier()), (vec![2, 3, 4, 5], 3));
    assert_eq!(darts.tables(), ["normal", "reduce"]);

    let rnn = Space::preset("darts-rnn").unwrap();
    assert_eq!(names(&rnn), "none tanh relu sigmoid identity");
    assert_eq!((rnn.nodes(), rnn.inputs(), rnn.edges().len(), rnn.kept()), (8, 1, 36, Some(1)));
    assert_eq!(rnn.concat(), (1..=8).collect::<Vec<_>>());
    assert_eq!(rnn.tables(), ["recurrent"]);
}

#[test]
fn an_unknown_preset_is_an_error_of_the_configuration_with_the_nearest_name() {
    let error = Space::preset("drats").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.detail.starts_with("unknown space `drats`; did you mean `darts`?"), "{error}");
}

#[test]
fn edges_are_ordered_by_the_node_entered_then_by_the_node_left() {
    let edges: Vec<_> = Space::preset("darts").unwrap().edges().iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(edges[..7], [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4), (1, 4)]);
    let edges: Vec<_> = Space::preset("darts-rnn").unwrap().edges().iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(edges[..4], [(0, 1), (0, 2), (1, 2), (0, 3)]);
}

#[test]
fn missing_fields_are_those_of_the_preset_of_the_kind() {
    assert_eq!(Space::from_json("\"darts\"").unwrap(), Space::preset("darts").unwrap());
    assert_eq!(Space::from_json("{}").unwrap(), Space::preset("darts").unwrap());
    assert_eq!(Space::from_json(r#"{"name": "darts-rnn"}"#).unwrap(), Space::preset("darts-rnn").unwrap());
    let rnn = Space::from_json(r#"{"name": "mine", "operations": ["none", "tanh"], "nodes": 3}"#).unwrap();
    assert_eq!((rnn.kind(), rnn.concat()), (CellKind::Recurrent, vec![1, 2, 3]));
    let small = Space::from_json(r#"{"nodes": 2, "concat": null}"#).unwrap();
    assert_eq!(small.concat(), [2, 3]);
}

#[test]
fn an_unknown_operation_is_answered_with_those_of_its_kind_of_cell() {
    for (text, own, foreign) in [
        (r#"{"operations": ["none", "qqq"]}"#, "sep_conv_3x3", "tanh"),
        (r#"{"operations": ["tanh", "qqq"]}"#, "sigmoid", "sep_conv_3x3"),
        (r#"{"kind": "recurrent", "operations": ["none", "qqq"]}"#, "sigmoid", "sep_conv_3x3"),
        (r#"{"operations": ["conv_1x1", "identity"]}"#, "sep_conv_3x3", "tanh"),
        (r#"{"operations": ["conv_1", "qqq"]}"#, "sep_conv_31", "sep_conv_3x3"),
        (r#"{"operations": ["conv_1", "conv_1x1"]}"#, "sep_conv_31", "sep_conv_3x3"),
        (r#"{"name": "darts-1d", "operations": ["sep_conv_3x3"]}"#, "sep_conv_31", "sep_conv_7x7"),
        (r#"{"dimensions": 2, "operations": ["sep_conv_3"]}"#, "sep_conv_7x7", "sep_conv_31"),
    ] {
        let error = Space::from_json(text).unwrap_err().detail;
        assert!(error.contains(own) && !error.contains(foreign), "{text}: {error}");
    }
}

#[test]
fn what_cannot_be_a_space_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "not JSON"),
        ("3", "the space is 3; it must be a name"),
        (r#"{"node": 3}"#, "unknown field of a space `node`; did you mean `nodes`?"),
        (r#"{"operations": ["sep_conv_3x"]}"#, "unknown operation `sep_conv_3x`; did you mean `sep_conv_3x3`?"),
        (r#"{"operations": []}"#, "`operations` is empty"),
        (r#"{"operations": ["none"]}"#, "only `none`"),
        (r#"{"operations": ["none", "conv_1x1", "conv_1x1"]}"#, "`conv_1x1` occurs twice"),
        (r#"{"operations": ["conv_1x1", "tanh"]}"#, "`tanh` does not belong in a convolutional cell"),
        (r#"{"kind": "recurrent", "operations": ["conv_1x1"]}"#, "does not belong in a recurrent cell"),
        (r#"{"operations": "none"}"#, "`operations` is \"none\"; it must be a list of operation names"),
        (r#"{"nodes": 0}"#, "`nodes` is 0; it must be a whole number from 1 to 32"),
        (r#"{"nodes": 2.5}"#, "`nodes` is 2.5"),
        (r#"{"nodes": 33}"#, "`nodes` is 33"),
        (r#"{"kind": "tree"}"#, "`kind` is \"tree\"; it must be \"convolutional\" or \"recurrent\""),
        (r#"{"concat": []}"#, "`concat` is empty"),
        (r#"{"concat": [1, 2]}"#, "`concat` holds node 1; the intermediate nodes are 2 to 5"),
        (r#"{"concat": [6]}"#, "`concat` holds node 6"),
        (r#"{"concat": [2, 2]}"#, "node 2 occurs twice"),
        (r#"{"concat": [-1]}"#, "`concat` is [-1]; it must be a list of whole numbers"),
        (r#"{"reductions": [1, 1]}"#, "cell 1 occurs twice"),
        (r#"{"kind": "recurrent", "reductions": [1]}"#, "no reduction cells"),
        (r#"{"stem_multiplier": 0}"#, "`stem_multiplier` is 0"),
    ] {
        let detail = refused(text);
        assert!(detail.contains(reason), "{text}: {detail}");
    }
}

#[test]
fn a_space_made_by_hand_is_checked_like_one_that_is_read() {
    let darts = Space::preset("darts").unwrap();
    let edits: [fn(&mut Space); 13] = [
        |space| space.cells.iter_mut().for_each(|cell| cell.nodes = 0),
        |space| space.cells.iter_mut().for_each(|cell| cell.nodes = usize::MAX),
        |space| space.cells.iter_mut().for_each(|cell| cell.nodes = 3),
        |space| space.cells[1].nodes = 3,
        |space| space.cells[1].keep = Keep::EveryEdge,
        |space| space.cells.iter_mut().for_each(|cell| cell.aggregate = Aggregate::NormalizedSum),
        |space| space.cells.truncate(1),
        |space| space.cells.clear(),
        |space| space.network.stem = Stem::Convolution { multiplier: 0, domain: Domain::Images },
        |space| space.network.stem = Stem::Convolution { multiplier: 3, domain: Domain::Sequences { causal: false } },
        |space| space.network.stem = Stem::Embedding,
        |space| space.network = Space::preset("darts-rnn").unwrap().network,
        |space| space.network.head = Head::TiedDecoder,
    ];
    darts.validate().unwrap();
    for (index, edit) in edits.into_iter().enumerate() {
        let mut broken = darts.clone();
        edit(&mut broken);
        assert_eq!(broken.validate().expect_err(&index.to_string()).kind, ErrorKind::Space);
    }
}

#[test]
fn operations_know_their_names_and_their_cells() {
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()).unwrap(), *operation);
        assert_eq!(json!(operation), json!(operation.name()));
        let both = operation.is_convolutional() && operation.is_recurrent();
        assert_eq!(both, *operation == Operation::None);
        assert!(operation.is_convolutional() || operation.is_recurrent());
    }
    assert_eq!(Operation::parse("conv_1x7").unwrap_err().kind, ErrorKind::Space);
}

/// The published lists of S1, edge by edge: the normal cell's, then the reduction cell's (ALGORITHMS: s skip, 3 and 5
/// dilated, S separable, m and a pooling).
const S1: [&str; 2] = ["s3 s5 s5 sS s3 ms sS sS s3 sS ms s3 35 35", "ma m3 ma ma s5 ma mS s3 s5 ma ma s5 s5 s5"];

#[test]
fn s1_has_two_operations_per_edge_and_cell() {
    let name = |letter: char| match letter {
        's' => "skip_connect",
        '3' => "dil_conv_3x3",
        '5' => "dil_conv_5x5",
        'S' => "sep_conv_3x3",
        'm' => "max_pool_3x3",
        'a' => "avg_pool_3x3",
        _ => panic!("{letter}"),
    };
    let space = Space::preset("s1").unwrap();
    for (table, letters) in space.logit_tables().iter().zip(S1) {
        let expected: Vec<Vec<&str>> = letters.split(' ').map(|pair| pair.chars().map(name).collect()).collect();
        let found: Vec<Vec<&str>> =
            table.rows.iter().map(|row| row.candidates.iter().map(String::as_str).collect()).collect();
        assert_eq!((found, table.columns), (expected, 2), "{}", table.name);
    }
    let darts = Space::preset("darts").unwrap();
    assert_eq!(
        (space.edges(), space.concat(), space.kept(), space.network),
        (darts.edges(), darts.concat(), Some(2), darts.network)
    );
}

#[test]
fn s2_to_s4_have_the_same_operations_on_every_edge() {
    for (name, expected) in [
        ("s2", &["skip_connect", "sep_conv_3x3"][..]),
        ("s3", &["none", "skip_connect", "sep_conv_3x3"]),
        ("s4", &["noise", "sep_conv_3x3"]),
    ] {
        let space = Space::preset(name).unwrap();
        let names: Vec<&str> = space.uniform_operations().unwrap().iter().map(|operation| operation.name()).collect();
        assert_eq!(names, expected);
        assert_eq!((space.tables(), space.edges().len()), (vec!["normal", "reduce"], 14));
    }
}

#[test]
fn a_space_of_sequences_has_the_dimensions_of_its_operations_or_its_name() {
    let preset = Space::preset("darts-1d").unwrap();
    let names: Vec<&str> = preset.uniform_operations().unwrap().iter().map(|operation| operation.name()).collect();
    let expected = "none max_pool_3 avg_pool_3 skip_connect sep_conv_3 sep_conv_5 dil_conv_3 dil_conv_5";
    assert_eq!(names.join(" "), expected);
    assert_eq!(preset.domain(), Some(Domain::Sequences { causal: false }));
    assert_eq!(Space::preset("darts").unwrap().domain(), Some(Domain::Images));
    assert_eq!(Space::preset("darts-rnn").unwrap().dimensions(), None);
    for (text, causal) in [
        (r#"{"operations": ["none", "sep_conv_3"]}"#, false),
        (r#"{"name": "mine", "operations": {"normal": ["conv_1"], "reduce": ["skip_connect"]}, "causal": true}"#, true),
        (r#"{"name": "darts-1d", "operations": ["skip_connect"], "causal": false}"#, false),
        (r#"{"name": "mine", "operations": ["none", "skip_connect"], "dimensions": 1, "causal": true}"#, true),
        (r#"{"name": "darts", "dimensions": 1}"#, false),
    ] {
        let space = Space::from_json(text).unwrap();
        assert_eq!(space.domain(), Some(Domain::Sequences { causal }), "{text}");
        let written = serde_json::to_string(&space).unwrap();
        assert_eq!(Space::from_json(&written).unwrap(), space, "{written}");
    }
    for text in [
        r#"{"causal": true}"#,
        r#"{"name": "darts-rnn", "causal": true}"#,
        r#"{"name": "darts-rnn", "dimensions": 1}"#,
        r#"{"dimensions": 3}"#,
        r#"{"dimensions": 2, "causal": true, "operations": ["conv_1x1"]}"#,
    ] {
        assert_eq!(Space::from_json(text).unwrap_err().kind, ErrorKind::Space, "{text}");
    }
}

#[test]
fn a_preset_of_version_one_is_written_as_before() {
    for (name, kind, concat, stem) in
        [("darts", "convolutional", vec![2, 3, 4, 5], 3), ("darts-rnn", "recurrent", (1..=8).collect(), 1)]
    {
        let space = Space::preset(name).unwrap();
        let expected = json!({
            "name": name, "kind": kind, "operations": space.all_operations(), "nodes": concat.len(), "concat": concat,
            "reductions": null, "stem_multiplier": stem,
        });
        assert_eq!(serde_json::to_string(&space).unwrap(), expected.to_string());
    }
}

#[test]
fn tables_of_logits_name_edges_groups_and_padding() {
    let lists = r#"{"nodes": 1, "operations": {"normal": [["none", "conv_1x1"], ["conv_3x3"]], "reduce": ["none", "skip_connect"]}}"#;
    let space = Space::from_json(lists).unwrap();
    let [normal, reduce] = &space.logit_tables()[..] else { panic!("not two tables") };
    assert_eq!(normal.rows.iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["0->2", "1->2"]);
    assert_eq!((normal.columns, reduce.columns), (2, 2));
    assert!(normal.holds(0, 1) && normal.holds(1, 0) && !normal.holds(1, 1) && reduce.holds(1, 1));
    assert!(!normal.selectable(0, 0) && normal.selectable(0, 1));
    assert_eq!(space.uniform_operations(), None);
    let groups = &Space::preset("darts").unwrap().logit_tables()[1].groups;
    assert_eq!(groups[..2], [vec![0, 1], vec![2, 3, 4]]);
    let choice = Space::from_json(r#"{"none_selectable": true}"#).unwrap();
    assert!(choice.logit_tables()[0].selectable(0, 0));
}

#[test]
fn equal_lists_are_one_however_they_are_given() {
    let plain = Space::from_json(r#"{"nodes": 1, "operations": ["conv_1x1", "none"]}"#).unwrap();
    for operations in [
        json!({"normal": ["conv_1x1", "none"], "reduce": ["conv_1x1", "none"]}),
        json!({"normal": [["conv_1x1", "none"], ["conv_1x1", "none"]], "reduce": ["conv_1x1", "none"]}),
    ] {
        let space = Space::from_json(&json!({"nodes": 1, "operations": operations}).to_string()).unwrap();
        assert_eq!(space, plain);
    }
    let rnn = json!({"nodes": 1, "operations": {"recurrent": [["tanh"]]}}).to_string();
    assert_eq!(Space::from_json(&rnn).unwrap().kind(), CellKind::Recurrent);
}

#[test]
fn what_cannot_be_lists_of_operations_is_refused_with_table_edge_and_value() {
    let all = |reduce: serde_json::Value| json!({"normal": ["conv_1x1"], "reduce": reduce});
    for (operations, facts) in [
        (json!({"normal": ["conv_1x1"]}), ["reduce"].as_slice()),
        (json!({"normal": ["conv_1x1"], "reduced": ["conv_1x1"]}), &["reduced", "reduce"]),
        (all(json!([["conv_1x1"]])), &["reduce", "2", "1"]),
        (all(json!([["conv_1x1"], ["conv_1x1"], ["conv_3x3"]])), &["reduce", "2", "3"]),
        (all(json!([["conv_1x1"], []])), &["reduce", "1->2", "empty"]),
        (all(json!([["conv_1x1"], ["none"]])), &["reduce", "1->2", "none"]),
        (all(json!([["conv_1x1", "conv_1x1"], ["conv_3x3"]])), &["reduce", "0->2", "conv_1x1", "twice"]),
        (all(json!([["conv_1x1"], ["tanh", "conv_3x3"]])), &["reduce", "1->2", "tanh", "convolutional"]),
        (all(json!([["conv_1x1"], ["conv_1"]])), &["reduce", "1->2", "conv_1", "conv_1x1"]),
        (all(json!([["conv_1x1"], "conv_1x1"])), &["reduce", "1->2", "conv_1x1"]),
        (all(json!(["conv_3x3", ["conv_1x1"]])), &["reduce", "0->2", "conv_3x3"]),
        (all(json!([])), &["reduce", "empty"]),
        (all(json!(["none"])), &["reduce", "none"]),
        (all(json!("conv_1x1")), &["reduce", "conv_1x1"]),
        (all(json!(3)), &["reduce", "3"]),
        (json!([["conv_1x1"], ["conv_1x1"]]), &["operations"]),
        (json!({}), &["normal"]),
    ] {
        let text = json!({"nodes": 1, "operations": operations}).to_string();
        let detail = refused(&text);
        assert!(facts.iter().all(|fact| detail.contains(fact)), "{text}: {detail}");
    }
}

#[test]
fn output_and_kept_edges_are_read_and_refused() {
    let read = |text: &str| Space::from_json(text).unwrap();
    assert_eq!(read(r#"{"output": "last", "nodes": 3}"#).concat(), [4]);
    assert_eq!(read(r#"{"output": "last", "concat": [5]}"#).cells[1].output, Output::Last);
    assert_eq!(
        read(r#"{"kind": "recurrent", "output": "mean", "concat": [2]}"#).cells[0].output,
        Output::Mean(vec![2])
    );
    assert_eq!((read(r#"{"keep": 3}"#).keep(), read(r#"{"keep": 3}"#).kept()), (Keep::Strongest(3), Some(3)));
    assert_eq!(
        (read(r#"{"keep": "every_edge"}"#).keep(), read(r#"{"keep": "every_edge"}"#).kept()),
        (Keep::EveryEdge, None)
    );
    assert_eq!(read(r#"{"keep": {"threshold": 0.85}}"#).keep(), Keep::Threshold(0.85));
    for (text, fact) in [
        (r#"{"output": "sum"}"#, "sum"),
        (r#"{"output": 3}"#, "3"),
        (r#"{"output": "mean"}"#, "mean"),
        (r#"{"kind": "recurrent", "output": "concat"}"#, "concat"),
        (r#"{"output": "last", "concat": [2, 3]}"#, "[2, 3]"),
        (r#"{"keep": 0}"#, "0"),
        (r#"{"keep": 1.5}"#, "1.5"),
        (r#"{"keep": "all"}"#, "all"),
        (r#"{"keep": {"threshold": 2}}"#, "keep.threshold"),
        (r#"{"keep": {"thresh": 0.5}}"#, "thresh"),
        (r#"{"none_selectable": 1}"#, "none_selectable"),
    ] {
        let detail = refused(text);
        assert!(detail.contains(fact), "{text}: {detail}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_space_or_an_error(text: String) {
        let _ = Space::from_json(&text);
    }

    #[test]
    fn a_space_comes_back_from_its_json(
        (space, _) in prop_oneof![spaces(9, 1, 1..2), ragged(9, 1, 1..2)],
        last: bool,
        keep in prop_oneof![(1usize..5).prop_map(Keep::Strongest), Just(Keep::EveryEdge), (0.0f64..1.0).prop_map(Keep::Threshold)],
        none_selectable: bool,
    ) {
        let mut space = space;
        for cell in &mut space.cells {
            (cell.keep, cell.none_selectable) = (keep, none_selectable);
            if last {
                cell.output = Output::Last;
            }
        }
        space.validate().unwrap();
        let text = serde_json::to_string(&space).unwrap();
        prop_assert_eq!(&Space::from_json(&text).unwrap(), &space);
        let ragged = space.cells.iter().any(|cell| matches!(cell.operations, Candidates::PerEdge(_)));
        prop_assert!(!ragged || space.uniform_operations().is_none());
        for (table, cell) in space.logit_tables().iter().zip(&space.cells) {
            let names = |row: usize| cell.operations(row).iter().map(|it| it.name().to_string()).collect::<Vec<_>>();
            prop_assert!(table.rows.iter().enumerate().all(|(row, it)| it.candidates.to_vec() == names(row)));
            let mut grouped: Vec<usize> = table.groups.iter().flatten().copied().collect();
            grouped.sort_unstable();
            prop_assert_eq!(grouped, (0..table.rows.len()).collect::<Vec<_>>());
        }
    }
}
