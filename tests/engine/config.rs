//! The configuration: published defaults, ranges and their messages, JSON both ways, and what makes two runs differ.

use proptest::prelude::*;
use pydarts::config::{
    Augment, BatchSize, ExecutionConfig, Graph, Hypergradient, Method, MetricMode, Precision, Record, Resume, Rewrite,
    SearchConfig,
};
use pydarts::error::ErrorKind;
use pydarts::schedule::Schedule;
use pydarts::space::{Operation, Space};
use serde_json::{Value, json};

fn read(value: Value) -> SearchConfig {
    SearchConfig::from_json(&value.to_string()).unwrap()
}

/// The options in the order in which they are documented.
const NAMES: &str = "space channels layers nodes operations num_classes in_channels image_size epochs batch_size \
    hypergradient epsilon weight_lr weight_lr_min weight_momentum weight_decay grad_clip arch_lr arch_betas \
    arch_weight_decay arch_start_epoch train_portion augment seed device precision record checkpoint_dir resume \
    progress mean std cutout checkpoint_every eval_batch_size passes memory micro_batch log_every graph units bptt dropout_rows dropout_embedded dropout_input dropout_hidden dropout_output slowness relaxation selection stop clip_virtual_step metric_mode arch_init arch_optimizer arch_grad_clip order arch_every weight_nesterov weight_lr_schedule probe_every partial_channels edge_normalization auxiliary_skip perturbation arch_terms drop_path skip_dropout curvature_every algorithm sync_batch_norm";

#[test]
fn the_defaults_are_the_published_ones_in_the_documented_order() {
    let defaults: Value = serde_json::from_str(&SearchConfig::defaults("darts").unwrap().to_json()).unwrap();
    let names: Vec<&str> = defaults.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.join(" "), NAMES);
    assert_eq!(
        defaults,
        json!({
            "space": "darts", "channels": 16, "layers": 8, "nodes": 4, "operations": null, "num_classes": null,
            "in_channels": null, "image_size": null, "epochs": 50, "batch_size": 64, "hypergradient": "first_order",
            "epsilon": 0.01, "weight_lr": 0.025, "weight_lr_min": 0.001, "weight_momentum": 0.9,
            "weight_decay": 3e-4, "grad_clip": 5.0, "arch_lr": 3e-4, "arch_betas": [0.5, 0.999],
            "arch_weight_decay": 1e-3, "arch_start_epoch": 0, "train_portion": 0.5, "augment": "none", "seed": 0,
            "device": "auto", "precision": "auto", "record": "epoch", "checkpoint_dir": null, "resume": false,
            "progress": true, "mean": null, "std": null, "cutout": 0, "checkpoint_every": null,
            "eval_batch_size": null, "passes": null, "memory": "keep", "micro_batch": null,
            "log_every": 1, "graph": "auto", "units": 300, "bptt": 35, "dropout_rows": 0.0, "dropout_embedded": 0.2,
            "dropout_input": 0.75, "dropout_hidden": 0.25, "dropout_output": 0.75, "slowness": 1e-3,
            "relaxation": {"name": "softmax", "temperature": 1.0}, "selection": {"name": "strongest", "k": 0},
            "stop": null, "clip_virtual_step": false, "metric_mode": "max", "arch_init": ["normal", 1e-3],
            "arch_optimizer": "adam", "arch_grad_clip": null, "order": "arch_first", "arch_every": 1,
            "weight_nesterov": false, "weight_lr_schedule": "epoch", "probe_every": null, "partial_channels": 1,
            "edge_normalization": false, "auxiliary_skip": null, "perturbation": null, "arch_terms": [],
            "drop_path": 0.0, "skip_dropout": 0.0, "curvature_every": null, "algorithm": null,
            "sync_batch_norm": false
        })
    );
    assert_eq!(SearchConfig::from_json("{}").unwrap(), SearchConfig::default());
}

#[test]
fn the_option_tune_of_earlier_versions_is_ignored() {
    let config = read(json!({"tune": "full", "epochs": 3}));
    assert_eq!(config, read(json!({"epochs": 3})));
    assert!(!config.to_json().contains("tune"));
}

#[test]
fn a_recurrent_space_has_its_own_published_defaults() {
    let config = read(json!({"space": "darts-rnn"}));
    assert_eq!(
        (
            config.space.nodes(),
            config.data.batch_size.examples(),
            config.optimisation.weight_lr,
            config.optimisation.weight_lr_min
        ),
        (8, 256, 20.0, 20.0)
    );
    assert_eq!(
        (config.optimisation.weight_momentum, config.optimisation.weight_decay, config.optimisation.grad_clip),
        (0.0, Schedule::Constant(5e-7), 0.25)
    );
    assert_eq!((config.optimisation.arch_lr, config.optimisation.arch_betas), (3e-3, (0.9, 0.999)));
    assert_eq!(config.to_json(), SearchConfig::defaults("darts-rnn").unwrap().to_json());
    assert_eq!(SearchConfig::defaults("darts-rn").unwrap_err().kind, ErrorKind::Config);
}

#[test]
#[cfg(feature = "torch")]
fn the_virtual_step_clips_by_default_where_the_published_search_does() {
    let clips = |value: Value| pydarts::search::StepSettings::new(&read(value)).virtual_clip;
    assert_eq!((clips(json!({})), clips(json!({"space": "darts-rnn"}))), (None, Some(0.25)));
    assert_eq!(clips(json!({"clip_virtual_step": true, "grad_clip": 3})), Some(3.0));
    assert_eq!(clips(json!({"clip_virtual_step": true, "grad_clip": 0})), None);
    assert_eq!(clips(json!({"space": "darts-rnn", "clip_virtual_step": false})), None);
    // A checkpoint of an earlier version does not hold the option.
    let mut old = SearchConfig::defaults("darts-rnn").unwrap().to_json();
    old = old.replace(",\"clip_virtual_step\":true", "");
    assert!(
        !old.contains("clip_virtual_step") && SearchConfig::from_json(&old).unwrap().optimisation.clip_virtual_step
    );
}

#[test]
fn every_option_is_read() {
    let config = read(json!({
        "channels": 8, "layers": 5, "num_classes": 10, "in_channels": 1, "image_size": [28, 30], "epochs": 2,
        "hypergradient": "unrolled_exact", "arch_betas": [0, 0.9], "augment": "cifar", "seed": u64::MAX,
        "device": "cuda:3", "precision": "bfloat16", "record": 10, "checkpoint_dir": "run", "resume": true,
        "progress": false, "mean": [0.5], "std": [0.25], "cutout": 16, "checkpoint_every": 100, "eval_batch_size": 7,
        "passes": ["fold", "share"], "micro_batch": 16, "log_every": 20, "graph": "off"
    }));
    assert_eq!((config.network.channels, config.network.layers, config.optimisation.epochs), (8, 5, 2));
    assert_eq!(
        (config.network.num_classes, config.network.in_channels, config.network.image_size),
        (Some(10), Some(1), Some((28, 30)))
    );
    assert_eq!(
        (config.optimisation.hypergradient.method(), config.data.augment),
        (Method::UnrolledExact, Augment::Cifar)
    );
    assert_eq!((config.execution.precision, config.execution.record), (Precision::Bfloat16, Record::Every(10)));
    assert_eq!(
        (config.optimisation.arch_betas, config.optimisation.seed, config.execution.device.as_str()),
        ((0.0, 0.9), u64::MAX, "cuda:3")
    );
    assert_eq!((config.data.mean, config.data.std, config.data.cutout), (Some(vec![0.5]), Some(vec![0.25]), 16));
    assert_eq!((config.execution.checkpoint_every, config.data.eval_batch_size), (Some(100), Some(7)));
    assert_eq!(
        config.execution.passes,
        Some(vec![Rewrite::Share, Rewrite::Fold]),
        "in the order in which they are applied"
    );
    assert_eq!(config.execution.micro_batch, Some(16));
    assert_eq!(read(json!({"batch_size": "auto"})).data.batch_size, BatchSize::Auto);
    let forced = read(json!({"resume": "force", "checkpoint_dir": "run"}));
    assert_eq!(forced.execution.resume, Resume::Force);
    assert_eq!(read(serde_json::from_str(&forced.to_json()).unwrap()), forced);
    assert_eq!((config.execution.log_every, config.execution.graph), (20, Graph::Off));
    assert!(config.execution.resume == Resume::Yes && !config.execution.progress);
    let recurrent = read(json!({
        "space": "darts-rnn", "units": 850, "bptt": 20, "dropout_rows": 0.1, "dropout_embedded": 0.3,
        "dropout_input": 0.4, "dropout_hidden": 0.5, "dropout_output": 0.6, "slowness": 0, "passes": ["gates", "share"]
    }));
    assert_eq!((recurrent.network.units, recurrent.data.bptt, recurrent.optimisation.slowness), (850, 20, 0.0));
    let dropped = [recurrent.network.dropout_rows, recurrent.network.dropout_embedded, recurrent.network.dropout_input];
    assert_eq!(
        (dropped, recurrent.network.dropout_hidden, recurrent.network.dropout_output),
        ([0.1, 0.3, 0.4], 0.5, 0.6)
    );
    assert_eq!(recurrent.execution.passes, Some(vec![Rewrite::Share, Rewrite::Gates]));
    assert_eq!(read(json!({"image_size": 32})).network.image_size, Some((32, 32)));
}

#[test]
fn a_wrong_option_is_refused_with_its_name_its_value_and_what_it_may_be() {
    for (text, message) in [
        (r#"{"units": 0}"#, "`units` is 0; it must be a whole number from 1 to 65536"),
        (r#"{"space": "darts-rnn", "batch_size": 1}"#, "`batch_size` is 1; a recurrent cell is normalised over"),
        (r#"{"space": "darts-rnn", "eval_batch_size": 1}"#, "`eval_batch_size` is 1; a recurrent cell is"),
        (r#"{"space": "darts-rnn", "memory": "recompute"}"#, "`memory` "),
        (r#"{"space": "darts-rnn", "micro_batch": 2}"#, "`micro_batch` "),
        (r#"{"bptt": 0}"#, "`bptt` is 0; it must be a whole number of at least 1"),
        (r#"{"dropout_output": 1}"#, "`dropout_output` is 1; it must be a number from 0 up to, but not including, 1"),
        (r#"{"slowness": -1}"#, "`slowness` is -1; it must be a number of at least 0"),
        (r#"{"passes": ["gates"]}"#, "pass \"gates\" does not apply"),
        (r#"{"epochs": -3}"#, "`epochs` is -3; it must be a whole number of at least 1"),
        (r#"{"epochs": 0}"#, "`epochs` is 0; it must be a whole number of at least 1"),
        (r#"{"epochs": 2.5}"#, "`epochs` is 2.5; it must be a whole number of at least 1"),
        (r#"{"epochs": "2"}"#, "`epochs` is \"2\"; it must be a whole number of at least 1"),
        (r#"{"epochs": null}"#, "`epochs` is null; it must be a whole number of at least 1"),
        (r#"{"epoch": 3}"#, "unknown option `epoch`; did you mean `epochs`?"),
        (r#"{"channels": 0}"#, "`channels` is 0; it must be a whole number from 1 to 4096"),
        (r#"{"layers": 1001}"#, "`layers` is 1001; it must be a whole number from 1 to 1000"),
        (r#"{"num_classes": 0}"#, "`num_classes` is 0; it must be a whole number from 1 to 10000000"),
        (r#"{"in_channels": true}"#, "`in_channels` is true; it must be a whole number from 1 to 4096"),
        (r#"{"image_size": 0}"#, "`image_size` is 0; it must be a whole number, or two of them, height and width"),
        (r#"{"image_size": [32]}"#, "`image_size` is [32]; it must be a whole number, or two of them"),
        (r#"{"image_size": [32, -1]}"#, "`image_size` is [32,-1]; it must be a whole number, or two of them"),
        (r#"{"batch_size": 0}"#, "`batch_size` is 0; it must be \"auto\" or a whole number of at least 1"),
        (r#"{"batch_size": "all"}"#, "`batch_size` is \"all\"; it must be \"auto\" or a whole number"),
        (r#"{"micro_batch": 0}"#, "`micro_batch` is 0; it must be a whole number of at least 1"),
        (r#"{"hypergradient": "unroled"}"#, "unknown `hypergradient` `unroled`; did you mean `unrolled`?"),
        (
            r#"{"hypergradient": 2}"#,
            "`hypergradient` is 2; it must be one of first_order, unrolled, unrolled_exact, single_level, t1_t2, neumann, conjugate_gradient, mixed_level, or an object with `name`",
        ),
        (r#"{"epsilon": 0}"#, "`epsilon` is 0; it must be a number greater than 0"),
        (r#"{"epsilon": 1e999}"#, "not JSON"),
        (r#"{"weight_lr": -0.1}"#, "`weight_lr` is -0.1; it must be a number of at least 0"),
        (r#"{"weight_momentum": 1}"#, "`weight_momentum` is 1; it must be a number from 0 up to, but not including, 1"),
        (r#"{"weight_decay": "no"}"#, "`weight_decay` is \"no\"; it must be a number of at least 0"),
        (r#"{"weight_decay": {"name": "linear", "start": 0, "end": -1}}"#, "`weight_decay.end` is -1"),
        (r#"{"drop_path": 1}"#, "`drop_path` is 1; it must be a number from 0 up to, but not including, 1"),
        (r#"{"skip_dropout": {"name": "linear", "start": 1.0, "end": 0.1}}"#, "`skip_dropout.start` is 1.0"),
        (r#"{"space": "darts-rnn", "drop_path": 0.1}"#, "`drop_path` applies to networks of images"),
        (r#"{"space": "darts-rnn", "skip_dropout": 0.1}"#, "`skip_dropout` applies to networks of images"),
        (r#"{"grad_clip": -1}"#, "`grad_clip` is -1; it must be a number of at least 0"),
        (r#"{"arch_lr": -1}"#, "`arch_lr` is -1"),
        (r#"{"arch_betas": [0.5]}"#, "`arch_betas` is [0.5]; it must be two numbers from 0"),
        (r#"{"arch_betas": [0.5, 1.0]}"#, "`arch_betas` is [0.5,1.0]; it must be two numbers from 0"),
        (r#"{"arch_weight_decay": -1}"#, "`arch_weight_decay` is -1"),
        (r#"{"arch_start_epoch": -1}"#, "`arch_start_epoch` is -1; it must be a whole number of at least 0"),
        (r#"{"train_portion": 1}"#, "`train_portion` is 1; it must be a number between 0 and 1, neither of them"),
        (r#"{"augment": "cifar10"}"#, "unknown `augment` `cifar10`; did you mean `cifar`? known: none, cifar"),
        (r#"{"seed": -1}"#, "`seed` is -1; it must be a whole number of at least 0"),
        (
            r#"{"device": "gpu"}"#,
            "`device` is \"gpu\"; it must be \"auto\", \"cpu\", \"cuda\" or \"cuda:\" and a number",
        ),
        (r#"{"device": "cuda:-1"}"#, "`device` is \"cuda:-1\""),
        (r#"{"precision": "float16"}"#, "unknown `precision` `float16`; did you mean"),
        (r#"{"record": 0}"#, "`record` is 0; it must be \"epoch\", \"step\" or a whole number of steps of at least 1"),
        (r#"{"checkpoint_dir": ""}"#, "`checkpoint_dir` is \"\"; it must be the path of a folder"),
        (r#"{"resume": 1}"#, "`resume` is 1; it must be true, false or \"force\""),
        (r#"{"resume": true}"#, "`resume` requires `checkpoint_dir`"),
        (r#"{"checkpoint_every": 5}"#, "`checkpoint_every` requires `checkpoint_dir`"),
        (r#"{"progress": "yes"}"#, "`progress` is \"yes\"; it must be true or false"),
        (r#"{"weight_lr": 0.0001}"#, "`weight_lr_min` is 0.001 and `weight_lr` 0.0001"),
        (r#"{"mean": [0.5]}"#, "`mean` and `std`"),
        (r#"{"mean": [0.5], "std": [0]}"#, "`std` is [0]; it must be a list of numbers greater than 0"),
        (r#"{"mean": [0, 0], "std": [1, 1], "in_channels": 3}"#, "hold 2 numbers and `in_channels` is 3"),
        (r#"{"cutout": -1}"#, "`cutout` is -1"),
        (r#"{"eval_batch_size": 0}"#, "`eval_batch_size` is 0"),
        (r#"{"passes": "share"}"#, "`passes` is \"share\"; it must be a list of names of passes"),
        (r#"{"passes": ["shared"]}"#, "unknown `passes` `shared`; did you mean `share`? known: space_to_batch, share"),
        (r#"{"log_every": 0}"#, "`log_every` is 0; it must be a whole number of at least 1"),
        (r#"{"graph": "on"}"#, "unknown `graph` `on`; known: auto, off"),
        (r#"{"space": "dart"}"#, "unknown space `dart`; did you mean `darts`?"),
        (r#"{"nodes": 0}"#, "`nodes` is 0; it must be a whole number of at least 1"),
        (r#"{"operations": "all"}"#, "`operations` is \"all\"; it must be a list of operation names"),
        (r#"{"space": {"nodes": 3}, "nodes": 4}"#, "`nodes` is 4 and `space` has 3"),
        (r#"{"space": {"nodes": 3}, "operations": ["conv_1x1"]}"#, "`operations` differs from those of `space`"),
        ("[]", "the configuration is []; it must be an object"),
        ("{", "the configuration is not JSON"),
    ] {
        let error = SearchConfig::from_json(text).expect_err(text);
        assert_eq!(error.kind, ErrorKind::Config, "{text}");
        assert!(error.detail.contains(message), "{text}: {error}");
    }
}

#[test]
fn a_space_that_cannot_be_is_an_error_of_the_space() {
    for text in [
        r#"{"space": {"nodes": 0}}"#,
        r#"{"operations": ["tanh"]}"#,
        r#"{"operations": ["conv"]}"#,
        r#"{"nodes": 99}"#,
        r#"{"nodes": 1000000000000000}"#,
    ] {
        assert_eq!(SearchConfig::from_json(text).expect_err(text).kind, ErrorKind::Space, "{text}");
    }
}

#[test]
fn nodes_and_operations_override_a_space_given_by_name() {
    let config = read(json!({"space": "darts", "nodes": 2, "operations": ["none", "conv_3x3"]}));
    assert_eq!((config.space.nodes(), config.space.concat()), (2, vec![2, 3]));
    assert_eq!(config.space.uniform_operations(), Some([Operation::None, Operation::Conv3x3].as_slice()));
    assert_eq!(config.operations.as_deref(), config.space.uniform_operations());
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!((&written["space"], &written["nodes"]), (&json!("darts"), &json!(2)));
}

#[test]
fn a_space_given_as_an_object_is_written_as_one_unless_it_is_the_preset() {
    let own = read(json!({"space": {"name": "mine", "operations": ["conv_3x3"], "nodes": 2}}));
    assert_eq!((&own.operations, own.space.nodes()), (&None, 2));
    let written: Value = serde_json::from_str(&own.to_json()).unwrap();
    assert_eq!((&written["space"]["name"], &written["operations"]), (&json!("mine"), &json!(null)));
    assert_eq!(read(written), own);

    let preset = read(json!({"space": Space::preset("darts").unwrap()}));
    assert_eq!(preset, SearchConfig::default());
    // The name alone would lose the reductions.
    let elsewhere = read(json!({"space": {"name": "darts", "reductions": [1]}}));
    assert_eq!(read(serde_json::from_str(&elsewhere.to_json()).unwrap()).space.network.reductions(), Some(&vec![1]));
}

#[test]
fn a_configuration_made_by_hand_is_checked_like_one_that_is_read() {
    let good = SearchConfig::default();
    good.validate().unwrap();
    let edits: [fn(&mut SearchConfig); 9] = [
        |config| config.optimisation.epochs = 0,
        |config| config.optimisation.epsilon = f64::NAN,
        |config| config.optimisation.grad_clip = f64::INFINITY,
        |config| config.space.cells[0].nodes = 3,
        |config| config.space.cells[1].nodes = 3,
        |config| config.space.cells.iter_mut().for_each(|cell| cell.nodes = usize::MAX),
        |config| config.execution.resume = Resume::Force,
        |config| config.execution.record = Record::Every(0),
        |config| config.space.cells.iter_mut().for_each(|cell| cell.nodes = 0),
    ];
    for edit in edits {
        let mut broken = good.clone();
        edit(&mut broken);
        assert!(broken.validate().is_err(), "{broken:?}");
    }
}

#[test]
fn differences_name_what_makes_another_search() {
    let ours = SearchConfig::default();
    assert!(ours.differences(&ours).is_empty());
    let mut theirs = ours.clone();
    theirs.execution = ExecutionConfig {
        device: "cpu".to_string(),
        checkpoint_dir: Some("run".to_string()),
        checkpoint_every: Some(5),
        resume: Resume::Force,
        progress: false,
        log_every: 7,
        graph: Graph::Off,
        ..theirs.execution
    };
    assert!(ours.differences(&theirs).is_empty());
    theirs.optimisation.metric_mode = MetricMode::Min;
    assert!(ours.differences(&theirs).is_empty());
    theirs.optimisation.epochs = 60;
    theirs.network.image_size = Some((8, 8));
    let difference = |name: &str, ours: &str, theirs: &str| (name.to_string(), ours.to_string(), theirs.to_string());
    assert_eq!(
        ours.differences(&theirs),
        [difference("image_size", "null", "[8,8]"), difference("epochs", "50", "60")]
    );
}

#[test]
fn a_method_is_known_by_its_name() {
    assert_eq!(Hypergradient::parse("method", &json!("unrolled")).unwrap().method(), Method::Unrolled);
    assert_eq!(Hypergradient::parse("method", &json!("second_order")).unwrap_err().kind, ErrorKind::Config);
}

/// A JSON object with some options, each in its range.
fn objects() -> impl Strategy<Value = Value> {
    let option = |name: &'static str, value: BoxedStrategy<Value>| {
        proptest::option::of(value).prop_map(move |value| value.map(|value| (name, value)))
    };
    let whole = || (1usize..1000).prop_map(|number| json!(number)).boxed();
    let number = || (1e-12f64..1.0).prop_map(|number| json!(number)).boxed();
    let schedule = || {
        (0.1f64..0.9, 0.1f64..0.9)
            .prop_map(|(start, end)| json!({"name": "cosine", "start": start, "end": end}))
            .boxed()
    };
    let name = |names: &'static [&'static str]| proptest::sample::select(names).prop_map(|name| json!(name)).boxed();
    let options = vec![
        option("space", name(&["darts", "darts-rnn"])),
        option("nodes", (1usize..10).prop_map(|number| json!(number)).boxed()),
        option("channels", whole()),
        option("num_classes", whole()),
        option("image_size", (1usize..99, 1usize..99).prop_map(|sides| json!(sides)).boxed()),
        option("epochs", whole()),
        option("hypergradient", name(&["first_order", "unrolled", "unrolled_exact", "single_level"])),
        option("epsilon", number()),
        option("weight_lr", (20.0f64..1e9).prop_map(|number| json!(number)).boxed()),
        option("weight_decay", prop_oneof![number(), schedule()].boxed()),
        option("train_portion", (0.01f64..0.99).prop_map(|number| json!(number)).boxed()),
        option("seed", any::<u64>().prop_map(|number| json!(number)).boxed()),
        option("precision", name(&["auto", "float64", "float32", "tf32", "bfloat16"])),
        option(
            "record",
            prop_oneof![Just(json!("step")), Just(json!("epoch")), (1usize..99).prop_map(|n| json!(n))].boxed(),
        ),
        option("checkpoint_dir", "[a-zα/\"\\\\]{1,9}".prop_map(|path| json!(path)).boxed()),
        option("progress", any::<bool>().prop_map(|flag| json!(flag)).boxed()),
        option("cutout", whole()),
        option("log_every", whole()),
        option("graph", name(&["auto", "off"])),
    ];
    options.prop_map(|given| given.into_iter().flatten().map(|(name, value)| (name.to_string(), value)).collect())
}

proptest! {
    #[test]
    fn a_configuration_comes_back_from_its_json(object in objects()) {
        let config = SearchConfig::from_json(&object.to_string()).unwrap();
        let text = config.to_json();
        prop_assert_eq!(&SearchConfig::from_json(&text).unwrap(), &config);
        prop_assert_eq!(&SearchConfig::from_json(&text).unwrap().to_json(), &text);
        let direct: SearchConfig = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        prop_assert_eq!(&direct, &config);
        let written: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in object.as_object().unwrap() {
            prop_assert_eq!(&written[name], value);
        }
        prop_assert!(config.differences(&direct).is_empty());
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error(text: String, key in "[a-z_]{1,12}") {
        let _ = SearchConfig::from_json(&text);
        let _ = SearchConfig::from_json(&json!({key: text}).to_string());
    }
}

#[test]
fn a_space_of_sequences_reads_image_size_as_a_length_and_refuses_options_of_images() {
    for (given, expected) in [(json!(128), (1, 128)), (json!([1, 7]), (1, 7)), (json!([9, 9]), (1, 9))] {
        let config = read(json!({"space": "darts-1d", "image_size": given}));
        assert_eq!(config.network.image_size, Some(expected));
        assert_eq!(SearchConfig::from_json(&config.to_json()).unwrap(), config);
    }
    for (name, value) in [("image_size", json!([3, 7])), ("augment", json!("cifar")), ("cutout", json!(2))] {
        let mut given = json!({"space": "darts-1d"});
        given[name] = value;
        let error = SearchConfig::from_json(&given.to_string()).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.detail.contains(name), "{error}");
    }
    let error = SearchConfig::from_json(r#"{"space": "darts-1d", "operations": ["conv_1x1"]}"#).unwrap_err();
    assert!(error.detail.contains("sep_conv_31"), "{error}");
}
