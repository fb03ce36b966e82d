//! Suggestions for a name that is unknown: another spelling, another word for the same thing, a part of a name.

/// Names longer than this are not compared: the comparison is quadratic.
pub(crate) const LONGEST_NAME: usize = 64;

/// The largest number of suggestions.
const FEW: usize = 3;

/// What other libraries and the published code call things, without case and separators, and the names here. A
/// suggestion must be among the known names of the place, so that a row may serve several lists.
const SYNONYMS: &[(&str, &[&str])] = &[
    // options of searches and trainings
    ("lr", &["weight_lr", "arch_lr"]),
    ("learningrate", &["weight_lr", "arch_lr"]),
    ("eta", &["weight_lr", "arch_lr"]),
    ("wlr", &["weight_lr"]),
    ("weightlearningrate", &["weight_lr"]),
    ("learningratemin", &["weight_lr_min"]),
    ("lrmin", &["weight_lr_min"]),
    ("minlr", &["weight_lr_min"]),
    ("etamin", &["weight_lr_min"]),
    ("archlearningrate", &["arch_lr"]),
    ("alphalr", &["arch_lr"]),
    ("momentum", &["weight_momentum"]),
    ("betas", &["arch_betas"]),
    ("wd", &["weight_decay"]),
    ("l2", &["weight_decay"]),
    ("alphaweightdecay", &["arch_weight_decay"]),
    ("clip", &["grad_clip"]),
    ("clipgrad", &["grad_clip"]),
    ("gradientclip", &["grad_clip"]),
    ("gradientclipval", &["grad_clip"]),
    ("maxnorm", &["grad_clip"]),
    ("maxgradnorm", &["grad_clip"]),
    ("bs", &["batch_size"]),
    ("batch", &["batch_size"]),
    ("iterations", &["epochs"]),
    ("steps", &["epochs", "nodes"]),
    ("warmup", &["arch_start_epoch"]),
    ("warmupepochs", &["warmup", "arch_start_epoch"]),
    ("archwarmup", &["arch_start_epoch"]),
    ("c", &["channels"]),
    ("initchannels", &["channels"]),
    ("width", &["channels", "units"]),
    ("depth", &["layers"]),
    ("cells", &["layers"]),
    ("ops", &["operations"]),
    ("primitives", &["operations"]),
    ("searchspace", &["space"]),
    ("classes", &["num_classes"]),
    ("nclasses", &["num_classes", "vocabulary"]),
    ("numclasses", &["vocabulary"]),
    ("vocabulary", &["num_classes"]),
    ("vocabsize", &["vocabulary", "num_classes"]),
    ("ntokens", &["vocabulary", "num_classes"]),
    ("hidden", &["units"]),
    ("hiddensize", &["units"]),
    ("nhid", &["units"]),
    ("emsize", &["units"]),
    ("size", &["image_size"]),
    ("resolution", &["image_size"]),
    ("cutoutlength", &["cutout"]),
    ("augmentation", &["augment"]),
    ("transform", &["augment"]),
    ("split", &["train_portion"]),
    ("unrolled", &["hypergradient"]),
    ("order", &["hypergradient"]),
    ("method", &["hypergradient"]),
    ("dtype", &["precision"]),
    ("amp", &["precision"]),
    ("gpu", &["device"]),
    ("verbose", &["progress"]),
    ("bar", &["progress"]),
    ("randomstate", &["seed"]),
    ("checkpoint", &["checkpoint_dir"]),
    ("ckptdir", &["checkpoint_dir"]),
    ("save", &["checkpoint_dir"]),
    ("savedir", &["checkpoint_dir"]),
    ("outputdir", &["checkpoint_dir"]),
    ("out", &["checkpoint_dir"]),
    ("lrschedule", &["weight_lr_schedule"]),
    ("scheduler", &["weight_lr_schedule"]),
    ("schedule", &["weight_lr_schedule"]),
    ("smoothing", &["label_smoothing"]),
    ("auxiliaryloss", &["auxiliary_weight"]),
    ("droppathprob", &["drop_path"]),
    ("droppathrate", &["drop_path"]),
    // methods, precisions, modes
    ("1st", &["first_order"]),
    ("secondorder", &["unrolled"]),
    ("2nd", &["unrolled"]),
    ("second", &["unrolled"]),
    ("exact", &["unrolled_exact"]),
    ("dartsv1", &["first_order"]),
    ("dartsv2", &["unrolled"]),
    ("fp64", &["float64"]),
    ("double", &["float64"]),
    ("fp32", &["float32"]),
    ("float", &["float32"]),
    ("single", &["float32"]),
    ("bf16", &["bfloat16"]),
    ("half", &["bfloat16"]),
    ("fp16", &["bfloat16"]),
    ("float16", &["bfloat16"]),
    // operations and spaces
    ("identity", &["skip_connect"]),
    ("skipconnection", &["skip_connect"]),
    ("zero", &["none"]),
    ("zeroize", &["none"]),
    ("maxpool", &["max_pool_3x3"]),
    ("avgpool", &["avg_pool_3x3"]),
    ("averagepool", &["avg_pool_3x3"]),
    ("rnn", &["darts-rnn"]),
    ("cnn", &["darts"]),
];

/// The known names that `given` may mean, at most three, the likeliest first.
pub fn suggestions<'a>(given: &str, known: &[&'a str]) -> Vec<&'a str> {
    if given.chars().count() > LONGEST_NAME {
        return Vec::new();
    }
    let plain = plain(given);
    if let Some(name) = known.iter().find(|name| self::plain(name) == plain) {
        return vec![name];
    }
    let synonyms = SYNONYMS.iter().filter(|(word, _)| *word == plain).flat_map(|(_, names)| *names);
    let meant: Vec<&str> = synonyms.filter_map(|name| known.iter().find(|known| *known == name).copied()).collect();
    if !meant.is_empty() {
        return meant.into_iter().take(FEW).collect();
    }
    if let Some(name) = nearest(given, known, 1) {
        return vec![name];
    }
    let sharing = with_its_words(given, known);
    let edits = given.chars().count() / 3;
    if sharing.is_empty() { nearest(given, known, edits).into_iter().collect() } else { sharing }
}

/// The nearest known name of at most this edit distance.
fn nearest<'a>(given: &str, known: &[&'a str], most: usize) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), *name))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// The known names that hold all words of the given one, or whose words the given one holds; the closest in length
/// first.
fn with_its_words<'a>(given: &str, known: &[&'a str]) -> Vec<&'a str> {
    let words = words(given);
    let holds = |all: &[String], some: &[String]| !some.is_empty() && some.iter().all(|word| all.contains(word));
    let mut found: Vec<(usize, &str)> = known
        .iter()
        .filter(|name| {
            let other = self::words(name);
            holds(&other, &words) || holds(&words, &other)
        })
        .map(|name| (name.len().abs_diff(given.len()), *name))
        .collect();
    found.sort_by_key(|(difference, _)| *difference);
    found.into_iter().take(FEW).map(|(_, name)| name).collect()
}

fn words(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect()
}

/// The name without case and separators.
fn plain(name: &str) -> String {
    name.to_lowercase().chars().filter(|letter| letter.is_alphanumeric()).collect()
}
