//! Spaces: the presets, the numbering of nodes and edges, and what is refused.

use proptest::prelude::*;
use pydarts::error::ErrorKind;
use pydarts::space::{CellKind, Operation, Space};
use serde_json::json;

fn refused(text: &str) -> String {
    let error = Space::from_json(text).expect_err(text);
    assert_eq!(error.kind, ErrorKind::Space, "{error}");
    error.detail
}

#[test]
fn the_presets_are_the_published_spaces() {
    let names = |space: &Space| space.operations.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(" ");
    let darts = Space::preset("darts").unwrap();
    assert_eq!(
        names(&darts),
        "none max_pool_3x3 avg_pool_3x3 skip_connect sep_conv_3x3 sep_conv_5x5 dil_conv_3x3 dil_conv_5x5"
    );
    assert_eq!((darts.nodes, darts.inputs(), darts.edges().len(), darts.kept_edges()), (4, 2, 14, 2));
    assert_eq!((darts.concat.as_slice(), darts.stem_multiplier), ([2, 3, 4, 5].as_slice(), 3));
    assert_eq!(darts.tables(), ["normal", "reduce"]);

    let rnn = Space::preset("darts-rnn").unwrap();
    assert_eq!(names(&rnn), "none tanh relu sigmoid identity");
    assert_eq!((rnn.nodes, rnn.inputs(), rnn.edges().len(), rnn.kept_edges()), (8, 1, 36, 1));
    assert_eq!(rnn.concat, (1..=8).collect::<Vec<_>>());
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
    assert_eq!((rnn.kind, rnn.concat), (CellKind::Recurrent, vec![1, 2, 3]));
    let small = Space::from_json(r#"{"nodes": 2, "concat": null}"#).unwrap();
    assert_eq!(small.concat, [2, 3]);
}

#[test]
fn an_unknown_operation_is_answered_with_those_of_its_kind_of_cell() {
    for (text, own, foreign) in [
        (r#"{"operations": ["none", "qqq"]}"#, "sep_conv_3x3", "tanh"),
        (r#"{"operations": ["tanh", "qqq"]}"#, "sigmoid", "sep_conv_3x3"),
        (r#"{"kind": "recurrent", "operations": ["none", "qqq"]}"#, "sigmoid", "sep_conv_3x3"),
        (r#"{"operations": ["conv_1x1", "identity"]}"#, "sep_conv_3x3", "tanh"),
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
    let broken = [
        Space { nodes: 0, ..darts.clone() },
        Space { nodes: usize::MAX, ..darts.clone() },
        Space { stem_multiplier: 0, ..darts.clone() },
        Space { kind: CellKind::Recurrent, ..darts.clone() },
        Space { nodes: 3, ..darts.clone() },
    ];
    assert!(darts.validate().is_ok());
    assert!(broken.iter().all(|space| space.validate().is_err()));
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

proptest! {
    #[test]
    fn any_text_is_a_space_or_an_error(text: String) {
        let _ = Space::from_json(&text);
    }

    #[test]
    fn a_space_comes_back_from_its_json(nodes in 1usize..6, mask in 1u32..2048, keep in 1usize..6, reductions in proptest::option::of(0usize..9)) {
        let operations: Vec<Operation> = Operation::ALL.iter().copied().filter(|operation| operation.is_convolutional()).enumerate()
            .filter(|(index, _)| *index == 1 || mask & (1 << index) != 0).map(|(_, operation)| operation).collect();
        let space = Space {
            name: "mine".to_string(),
            kind: CellKind::Convolutional,
            operations,
            nodes,
            concat: (2..2 + nodes).rev().take(keep).collect(),
            reductions: reductions.map(|cell| vec![cell]),
            stem_multiplier: 2,
        };
        space.validate().unwrap();
        let text = serde_json::to_string(&space).unwrap();
        prop_assert_eq!(&Space::from_json(&text).unwrap(), &space);
    }
}
