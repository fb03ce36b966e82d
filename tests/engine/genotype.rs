//! Genotypes: the published ones, JSON and the paper's notation both ways, and what does not fit a space.

use proptest::prelude::*;
use pydarts::arch::genotype::{Cell, Edge, Genotype, published};
use pydarts::error::ErrorKind;
use pydarts::space::{CellKind, Operation, Space};

fn named(name: &str) -> Genotype {
    published().iter().find(|(known, _)| *known == name).map(|(_, genotype)| genotype.clone()).expect(name)
}

/// As DARTS_V2 stands in the paper's code, line breaks included.
const DARTS_V2: &str = "DARTS_V2 = Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
    ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], \n\
    normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], \
    reduce_concat=[2, 3, 4, 5])\n";

#[test]
fn all_published_genotypes_fit_their_spaces() {
    let names: Vec<_> = published().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET", "DARTS_RNN_V1", "DARTS_RNN_V2"]);
    for (name, genotype) in published() {
        let (fits, other) = if name.contains("RNN") { ("darts-rnn", "darts") } else { ("darts", "darts-rnn") };
        genotype.validate(&Space::preset(fits).unwrap()).unwrap();
        let error = genotype.validate(&Space::preset(other).unwrap()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Genotype);
    }
}

#[test]
fn the_published_notation_is_read() {
    assert_eq!(Genotype::from_notation(DARTS_V2).unwrap(), named("DARTS_V2"));
    let rnn = "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), \
        ('sigmoid', 5), ('tanh', 3), ('relu', 5)], concat=range(1, 9))";
    assert_eq!(Genotype::from_notation(rnn).unwrap(), named("DARTS_RNN_V2"));
}

#[test]
fn the_notation_is_written_as_the_paper_prints_it() {
    let text = named("DARTS_RNN_V1").to_string();
    assert_eq!(
        text,
        "Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2), ('relu', 3), ('relu', 4), ('identity', 1), \
         ('relu', 5), ('relu', 1)], concat=[1, 2, 3, 4, 5, 6, 7, 8])"
    );
    let expected = DARTS_V2.trim_start_matches("DARTS_V2 = ").replace(", \n", ", ");
    assert_eq!(named("DARTS_V2").to_string(), expected.trim());
}

#[test]
fn tuples_either_quote_white_space_and_trailing_commas_are_read() {
    let plain = "Genotype(recurrent=[('relu', 0)], concat=[1])";
    for other in [
        "Genotype(recurrent=[(\"relu\", 0)], concat=range(1, 2))",
        "  Genotype ( recurrent = ( ['relu', 0], ) ,\n\tconcat = (1,) , ) ",
        "best=Genotype(concat=[1],recurrent=[('relu',0,),])",
    ] {
        assert_eq!(Genotype::from_notation(other).unwrap(), Genotype::from_notation(plain).unwrap(), "{other}");
    }
}

#[test]
fn a_wrong_notation_is_refused_with_the_position() {
    for (text, message) in [
        ("", "at character 1: expected `Genotype`, found the end"),
        ("Genotyp(normal=[])", "at character 1: expected `Genotype`, found `Genotyp`"),
        ("Genotype", "at character 9: expected `(`, found the end"),
        ("Genotype(norml=[])", "at character 10: unknown key of a genotype `norml`; did you mean `normal`?"),
        ("Genotype([('relu', 0)])", "at character 23: the genotype lacks `concat`"),
        ("Genotype([('relu', 0)], [1], [], [], [])", "at character 38: a genotype has no more than four values"),
        ("Genotype([('relu', 0)], recurrent=[], concat=[1])", "at character 10: unknown key of a genotype `normal`"),
        ("Genotype([1], [1])", "at character 11: expected `[` or `(`, found `1`"),
        ("Genotype(3)", "at character 10: unknown key of a genotype `3`"),
        (
            "Genotype(recurrent=[('rely', 0)], concat=[1])",
            "at character 23: unknown operation `rely`; did you mean `relu`?",
        ),
        ("Genotype(recurrent=[(relu, 0)], concat=[1])", "at character 22: expected an operation in quotes, found `r`"),
        (
            "Genotype(recurrent=[[('relu', 0)], [('relu', 0), ('relu', 2)]], concat=[1])",
            "at character 50: cell `recurrent`: an edge into node 2 comes from node 2; it must come from a lower one",
        ),
        (
            "Genotype(recurrent=[[('relu', 0)], ('relu', 0)], concat=[1])",
            "at character 37: expected `[` or `(`, found `'`",
        ),
        ("Genotype(recurrent=[('relu, 0)], concat=[1])", "at character 22: this quote is never closed"),
        ("Genotype(recurrent=[('relu', -1)], concat=[1])", "at character 30: expected a node number, found `-`"),
        ("Genotype(recurrent=[('relu', 0]], concat=[1])", "at character 31: expected `)`, found `]`"),
        ("Genotype(recurrent=[('relu', 0) concat=[1])", "at character 33: expected `]`, found `c`"),
        ("Genotype(recurrent=[('relu', 0)], recurrent=[], concat=[1])", "at character 35: `recurrent` occurs twice"),
        ("Genotype(recurrent=[('relu', 0)], concat=range(0, 100000000))", "number 100000000 is larger than any cell's"),
        ("Genotype(recurrent=[('relu', 0)], concat=range(0, 9999999999999999999999))", "is larger than any cell's"),
        ("Genotype(recurrent=[('relu', 0)], concat=list(1))", "at character 47: expected `[` or `(`, found `1`"),
        (
            "Genotype(recurrent=[('relu', 0)], concat=open(1))",
            "at character 42: expected `range` or a list, found `open`",
        ),
        ("Genotype(recurrent=[('relu', x)], concat=[1])", "at character 30: expected a node number, found `x`"),
        ("Genotype(recurrent=[('relu', 0, '1')], concat=[1])", "at character 33: expected a weight, found `'`"),
        ("Genotype(recurrent=[('relu', 0, 1.2.3)], concat=[1])", "at character 33: `1.2.3` is not a number"),
        ("Genotype(recurrent=[('relu', 0)], connects=[1])", "at character 44: expected `None`, found `[`"),
        (
            "best Genotype(recurrent=[('relu', 0)], concat=[1])\n# or\nGenotype(recurrent=[], concat=[])",
            "at character 57: another genotype follows the first",
        ),
        ("{'recurrent': [('relu', 0)], concat: [1]}", "at character 30: expected a key in quotes, found `c`"),
        ("{'recurrent': [('relu', 0)], 'concat'=[1]}", "at character 38: expected `:`, found `=`"),
        ("{'recurent': [('relu', 0)]}", "at character 3: unknown key of a genotype `recurent`"),
        ("arch: |nor_conv_3x3~0|+|none~1|", "at character 30: expected the edge from node 0"),
        ("arch: |nor_conv_3x3~0|+|none~0|", "at character 32: expected"),
        ("Genotype(recurrent=[('relu', 0)], concat=[1]) + 1", "at character 47: nothing may follow the genotype"),
        ("Genotype(recurrent=[('relu', 0)])", "at character 33: the genotype lacks `concat`"),
        ("Genotype(normal=[('skip_connect', 0)], normal_concat=[2])", "at character 57: the genotype lacks `reduce`"),
        (
            "Genotype(recurrent=[('conv_1x1', 0)], concat=[1])",
            "at character 21: cell `recurrent`: operation `conv_1x1` does not belong in a recurrent cell",
        ),
        ("Genotype(recurrent=[], concat=[1])", "at character 10: cell `recurrent` has no nodes"),
        (
            "Genotype(recurrent=[('relu', 0)], concat=range(9, 1))",
            "at character 35: cell `recurrent` has no output nodes",
        ),
        (
            "Genotype(recurrent=[('relu', 0)], concat=[1, 1])",
            "at character 46: cell `recurrent`: output node 1 occurs twice",
        ),
        (
            "Genotype(recurrent=[('relu', 0),  ('conv_3x3', 1), ('tanh', 0)], concat=[3])",
            "at character 35: cell `recurrent`: operation `conv_3x3` does not belong in a recurrent cell",
        ),
        (
            "Genotype(recurrent=[('relu', 0), ('tanh', 2)], concat=[2])",
            "at character 34: cell `recurrent`: an edge into node 2 comes from node 2",
        ),
        (
            "Genotype(recurrent=[('relu', 0), ('tanh', 1)], concat=[1, 3])",
            "at character 59: cell `recurrent`: output node 3; the intermediate nodes are 1 to 2",
        ),
        (
            "Genotype(recurrent=[('relu', 0)], concat=[1], normal_concat=[2])",
            "at character 47: unknown key of a genotype `normal_concat`",
        ),
    ] {
        let error = Genotype::from_notation(text).expect_err(text);
        assert_eq!(error.kind, ErrorKind::Genotype);
        assert!(error.detail.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_other_tools_write_is_read() {
    let v2 = named("DARTS_V2");
    let cell = |genotype: &Genotype, index: usize, edge: &dyn Fn(&Edge) -> String| {
        let node = |edges: &Vec<Edge>| format!("({})", edges.iter().map(edge).collect::<Vec<_>>().join(", "));
        format!("[{}]", genotype.cells()[index].1.nodes.iter().map(node).collect::<Vec<_>>().join(",\n  "))
    };
    let plain = |edge: &Edge| format!("('{}', {})", edge.operation.name(), edge.source);
    let weighted = |edge: &Edge| format!("('{}', {}, 1.5e-1)", edge.operation.name(), edge.source);
    let printed = |edge: &Edge| {
        let weight = "tensor(0.1301, device='cuda:0', grad_fn=<SelectBackward0>)";
        format!("('{}', np.int64({}), {weight},)", edge.operation.name(), edge.source)
    };
    let flat = DARTS_V2.trim().trim_start_matches("DARTS_V2 = ");
    let values = |edge: &dyn Fn(&Edge) -> String| (cell(&v2, 0, edge), cell(&v2, 1, edge));
    let (normal, reduce) = values(&plain);
    let (n_weighted, r_weighted) = values(&weighted);
    let (n_printed, r_printed) = values(&printed);
    let all = "normal_concat=range(2, 6)";
    for text in [
        format!("Genotype(normal={normal}, {all}, reduce={reduce}, reduce_concat=range(2, 6))"),
        format!("Genotype({normal}, range(2, 6), {reduce}, list(range(2, 6)))"),
        format!("Genotype({normal}, (2, 3, 4, 5), reduce={reduce}, reduce_concat=array([2, 3, 4, 5], dtype=int64))"),
        format!(
            "Genotype(normal={n_weighted}, {all}, reduce={r_weighted}, reduce_concat=np.arange(2, 6), connectN=None, connects=None)"
        ),
        format!(
            "Genotype(normal={n_printed}, {all}, reduce={r_printed}, reduce_concat=[tensor(2), np.int64(3), 4, int(5)])"
        ),
        format!(
            "{{'normal': {n_weighted}, 'normal_concat': [2, 3, 4, 5], 'reduce': {reduce}, 'reduce_concat': [2, 3, 4, 5]}}"
        ),
        format!(
            "<<<--->>> The 3-th epoch : {{\"normal\": {normal}, \"normal_concat\": [2, 3, 4, 5], \"reduce\": {reduce}, \"reduce_concat\": tensor([2, 3, 4, 5]),}}\n"
        ),
        format!("2019-12-30 04:54:12,339 INFO genotype = {flat}\n"),
        format!("12/30 04:54:12 AM | best Genotype = {flat}"),
        format!(
            "# of run 3, as Genotype(normal, reduce)\nGenotype = namedtuple('Genotype', 'normal reduce')\nDARTS_V2 = genotypes.{flat}  # second order"
        ),
        format!("# {flat}"),
        flat.replace("normal_concat", "# all nodes\n  normal_concat"),
        flat.replace("Genotype(", "Genotype # of the paper\n("),
    ] {
        assert_eq!(Genotype::from_notation(&text).unwrap_or_else(|error| panic!("{text}: {error}")), v2);
    }
    let rnn = Genotype::from_notation("Genotype([('relu', 0)], range(1, 2))").unwrap();
    assert_eq!(rnn, Genotype::from_notation("Genotype(recurrent=[('relu', 0)], concat=[1])").unwrap());
}

#[test]
fn weights_of_edges_in_json_are_left_out() {
    let with = Genotype::from_json(r#"{"recurrent": [["relu", 0, 0.25], ["tanh", 1, 1]], "concat": [2]}"#).unwrap();
    assert_eq!(with, Genotype::from_json(r#"{"recurrent": [[["relu", 0]], [["tanh", 1]]], "concat": [2]}"#).unwrap());
    assert!(Genotype::from_json(r#"{"recurrent": [["relu", 0, "x"]], "concat": [1]}"#).is_err());
}

#[test]
fn a_cell_may_hold_zeros_wherever_its_kind_and_space_allow_them() {
    let text = "Genotype(recurrent=[('none', 0), ('relu', 1)], concat=[1, 2])";
    let genotype = Genotype::from_notation(text).unwrap();
    assert_eq!((genotype.to_string(), genotype.skip_connections()), (text.to_string(), 0));
    let space = |operations: &str| Space::from_json(&format!(r#"{{"operations": {operations}, "nodes": 2}}"#)).unwrap();
    genotype.validate(&space(r#"["none", "relu"]"#)).unwrap();
    let error = genotype.validate(&space(r#"["tanh", "relu"]"#)).unwrap_err();
    assert!(error.detail.contains("`none` is not one of"), "{error}");
}

#[test]
fn positions_count_characters_and_not_bytes() {
    let error = Genotype::from_notation("αβγ = Genotype[").unwrap_err();
    assert_eq!(error.detail, "at character 15: expected `(`, found `[`");
}

#[test]
fn wrong_json_is_refused_with_the_reason() {
    for (text, message) in [
        ("", "not JSON"),
        ("[]", "not an object"),
        (r#"{"recurent": []}"#, "unknown key of a genotype `recurent`; did you mean `recurrent`?"),
        (r#"{"recurrent": [["relu", 0]]}"#, "lacks `concat`"),
        (r#"{"recurrent": [["relu", 0]], "concat": [1], "normal": []}"#, "unknown key of a genotype `normal`"),
        (r#"{"recurrent": [["relu"]], "concat": [1]}"#, "`recurrent` is not a list of [operation, node] pairs"),
        (r#"{"recurrent": [["rely", 0]], "concat": [1]}"#, "did you mean `relu`?"),
        (r#"{"recurrent": [["relu", 0]], "concat": ["1"]}"#, "`concat` is not a list of node numbers"),
    ] {
        let error = Genotype::from_json(text).expect_err(text);
        assert_eq!(error.kind, ErrorKind::Genotype);
        assert!(error.detail.contains(message), "{text}: {error}");
    }
}

#[test]
fn a_genotype_that_does_not_fit_its_space_is_refused_with_the_reason() {
    let space = Space::preset("darts").unwrap();
    let change = |at: usize, operation: Operation, source: usize| {
        let mut genotype = named("DARTS_V1");
        if let Genotype::Convolutional { normal, .. } = &mut genotype {
            normal.nodes[at / 2][at % 2] = Edge { operation, source };
        }
        genotype
    };
    let with = |edit: &dyn Fn(&mut Cell)| {
        let mut genotype = named("DARTS_V1");
        if let Genotype::Convolutional { reduce, .. } = &mut genotype {
            edit(reduce);
        }
        genotype
    };
    for count in [0, 1] {
        with(&|cell| cell.nodes[3].truncate(count)).validate(&space).unwrap();
    }
    for (genotype, reason) in [
        (change(1, Operation::SepConv3x3, 2), "cell `normal`: an edge into node 2 comes from node 2"),
        (change(7, Operation::SepConv3x3, 5), "an edge into node 5 comes from node 5"),
        (change(1, Operation::SepConv3x3, 1), "two edges into node 2 come from the same node 1"),
        (change(0, Operation::Conv3x3, 1), "operation `conv_3x3` is not one of space `darts`"),
        (change(0, Operation::Tanh, 1), "`tanh` does not belong in a convolutional cell"),
        (with(&|cell| cell.nodes.clear()), "cell `reduce` has no nodes"),
        (with(&|cell| cell.nodes.push(cell.nodes[0].clone())), "cell `reduce`: 5 nodes; space `darts` has 4"),
        (with(&|cell| cell.concat.push(6)), "cell `reduce`: output node 6; the intermediate nodes are 2 to 5"),
        (with(&|cell| cell.concat.clear()), "has no output nodes"),
    ] {
        let error = genotype.validate(&space).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Genotype);
        assert!(error.detail.contains(reason), "{error}");
    }
}

#[test]
fn skip_connections_of_both_cells_are_counted() {
    let counts: Vec<_> = published().iter().map(|(_, genotype)| genotype.skip_connections()).collect();
    assert_eq!(counts, [6, 5, 1, 3, 1, 1]);
}

/// A cell of up to 8 nodes with `kept` edges each, or with any number where `kept` is none.
fn cell(kind: CellKind, inputs: usize, kept: Option<usize>) -> impl Strategy<Value = Cell> {
    let fits = move |operation: &Operation| kind.allows(*operation) && operation.suits(2);
    let operations: Vec<Operation> = Operation::ALL.iter().copied().filter(fits).collect();
    let edge = move |node: usize| (proptest::sample::select(operations.clone()), 0..node).prop_map(Edge::from);
    let counts = kept.map_or(0..=3, |kept| kept..=kept);
    let node = move |index: usize| proptest::collection::vec(edge(inputs + index), counts.clone());
    (1usize..=8).prop_flat_map(move |nodes| {
        let numbers: Vec<usize> = (inputs..inputs + nodes).collect();
        let concat = proptest::sample::subsequence(numbers, 1..=nodes).prop_shuffle();
        ((0..nodes).map(&node).collect::<Vec<_>>(), concat).prop_map(|(nodes, concat)| Cell { nodes, concat })
    })
}

fn genotypes(published: bool) -> impl Strategy<Value = Genotype> {
    let of = |kind, inputs, kept| cell(kind, inputs, published.then_some(kept));
    let convolutional = || of(CellKind::Convolutional, 2, 2);
    let pair = (convolutional(), convolutional());
    // Any edges, or one from every lower node, which a list of all edges expresses.
    let single = if published { complete().boxed() } else { of(CellKind::Convolutional, 1, 1).boxed() };
    prop_oneof![
        pair.prop_map(|(normal, reduce)| Genotype::Convolutional { normal, reduce }),
        of(CellKind::Recurrent, 1, 1).prop_map(|recurrent| Genotype::Recurrent { recurrent }),
        single.prop_map(|cell| Genotype::Single { cell }),
    ]
}

/// A cell of one input with an edge from every lower node to each node.
fn complete() -> impl Strategy<Value = Cell> {
    let fits = |operation: &Operation| operation.is_convolutional() && operation.suits(2);
    let operations: Vec<Operation> = Operation::ALL.iter().copied().filter(fits).collect();
    (1usize..=5).prop_flat_map(move |nodes| {
        let count = nodes * (nodes + 1) / 2;
        let chosen = proptest::collection::vec(proptest::sample::select(operations.clone()), count);
        chosen.prop_map(move |chosen| {
            let mut chosen = chosen.into_iter();
            let into = |node: usize| -> Vec<Edge> { chosen.by_ref().take(node).zip(0..).map(Edge::from).collect() };
            Cell { nodes: (1..=nodes).map(into).collect(), concat: vec![nodes] }
        })
    })
}

proptest! {
    #[test]
    fn cells_of_nas_bench_201_are_read_as_they_are_written(cell in complete()) {
        let genotype = Genotype::Single { cell };
        let text = genotype.to_nas_bench_201().unwrap();
        prop_assert_eq!(Genotype::from_nas_bench_201(&text).unwrap(), genotype.clone());
        prop_assert_eq!(Genotype::from_notation(&text).unwrap(), genotype);
    }
}

#[test]
fn flat_lists_that_the_published_number_of_edges_does_not_explain_are_refused() {
    let flat = |count: usize, concat: &str| {
        let cell = vec![r#"["skip_connect", 0]"#; count].join(",");
        format!(
            r#"{{"normal": [{cell}], "normal_concat": {concat},
                 "reduce": [["conv_3x3", 0], ["conv_3x3", 1]], "reduce_concat": [2]}}"#
        )
    };
    assert!(Genotype::from_json(&flat(8, "[2, 3, 4, 5]")).is_ok());
    assert!(Genotype::from_json(&flat(4, "[2]")).is_ok(), "an unused last node");
    // Eight edges up to node 4 are four nodes of two, the last one unused, or three of up to three.
    for (count, concat, fact) in [(8, "[2, 3, 4]", "3 edges"), (4, "[2, 3, 4, 5]", "1 edges"), (7, "[2]", "7 edges")] {
        let error = Genotype::from_json(&flat(count, concat)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Genotype);
        assert!(error.detail.contains("`normal`") && error.detail.contains(fact), "{error}");
    }
    assert!(Genotype::from_json(&flat(2, "[18446744073709551615]")).is_err());
}

#[test]
fn json_holds_nodes_as_lists_of_edges() {
    let text = r#"{"recurrent":[[["relu",0]],[["tanh",0],["identity",1]]],"concat":[1,2]}"#;
    let genotype = Genotype::from_json(text).unwrap();
    assert_eq!(genotype.to_json(), text);
    assert_eq!(genotype.cells()[0].1.nodes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        genotype.to_string(),
        "Genotype(recurrent=[[('relu', 0)], [('tanh', 0), ('identity', 1)]], concat=[1, 2])",
        "one list does not determine the nodes"
    );
}

#[test]
fn a_genotype_of_another_kind_of_cell_is_told_by_the_space_as_it_is_named() {
    let space = Space::from_json(r#"{"name": "MySpace", "kind": "recurrent"}"#).unwrap();
    let (_, genotype) = &published()[0];
    let error = genotype.validate(&space).unwrap_err();
    for fact in ["convolutional", "normal, reduce", "`MySpace`", "recurrent"] {
        assert!(error.detail.contains(fact), "{}", error.detail);
    }
}

proptest! {
    #[test]
    fn a_genotype_comes_back_from_its_notation(genotype in prop_oneof![genotypes(true), genotypes(false)]) {
        prop_assert_eq!(&Genotype::from_notation(&genotype.to_string()).unwrap(), &genotype);
    }

    #[test]
    fn a_genotype_comes_back_from_its_json(genotype in genotypes(false)) {
        prop_assert_eq!(&Genotype::from_json(&genotype.to_json()).unwrap(), &genotype);
        prop_assert_eq!(serde_json::to_string(&genotype).unwrap(), genotype.to_json());
    }

    #[test]
    fn any_text_is_a_genotype_or_an_error(text: String) {
        let _ = Genotype::from_notation(&text);
        let _ = Genotype::from_json(&text);
    }

    #[test]
    fn a_damaged_notation_is_a_genotype_or_an_error(genotype in prop_oneof![genotypes(true), genotypes(false)], at: prop::sample::Index, with: char, cut: bool) {
        let mut text: Vec<char> = genotype.to_string().chars().collect();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = with }
        let _ = Genotype::from_notation(&text.into_iter().collect::<String>());
    }

    #[test]
    fn validating_any_genotype_ends(genotype in genotypes(false), nodes in 1usize..12) {
        let text = format!(r#"{{"nodes": {nodes}}}"#);
        let _ = genotype.validate(&Space::from_json(&text).unwrap());
    }
}
