//! From a model directory to a running library.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use candle_core::Device;
use mistralrs::Model;
use mistralrs::core::llguidance::toktrie::TokEnv;
use mistralrs::core::{
    AdapterPaths, DefaultSchedulerMethod, DeviceMapSetting, GGUFLoaderBuilder, GGUFSpecificConfig, IsqOrganization,
    Loader, LocalModelPaths, MistralRsBuilder, ModelDType, ModelPaths, NormalLoaderBuilder, NormalSpecificConfig,
    SchedulerConfig,
};

use crate::convert::header;
use crate::error::EngineError;

pub(super) struct Loaded {
    pub model: Model,
    pub tokens: TokEnv,
    pub eos: Vec<u32>,
    pub context_tokens: usize,
}

/// The two forms of a model directory.
pub(super) enum Form {
    Gguf(PathBuf),
    Safetensors(Vec<PathBuf>),
}

/// Which form `dir` has, with every file the loader is going to open. The library panics on some missing files, so they
/// are looked for here.
pub(super) fn form(dir: &Path) -> Result<Form, EngineError> {
    let wrong = |what: String| EngineError::ModelDir { path: dir.into(), what };
    if !dir.is_dir() {
        return Err(wrong("not a directory".into()));
    }
    let need = |files: &[&str]| match files.iter().find(|file| !dir.join(file).is_file()) {
        Some(file) => Err(wrong(format!("no {file}"))),
        None => Ok(()),
    };
    if dir.join("model.gguf").is_file() {
        need(&["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])?;
        return Ok(Form::Gguf(dir.join("model.gguf")));
    }
    let mut weights: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|error| wrong(error.to_string()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    weights.sort();
    if weights.is_empty() {
        return Err(wrong("neither model.gguf nor *.safetensors".into()));
    }
    need(&["config.json", "tokenizer.json", "tokenizer_config.json"])?;
    Ok(Form::Safetensors(weights))
}

pub(super) async fn load(dir: &Path, streams: usize) -> Result<Loaded, EngineError> {
    let failed = |what: String| EngineError::Load { path: dir.into(), what };
    let form = form(dir)?;
    let template = Some(dir.join("chat_template.jinja"))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| dir.join("tokenizer_config.json"));
    let generation = Some(dir.join("generation_config.json")).filter(|path| path.is_file());
    let paths = |config: PathBuf, weights| -> Box<dyn ModelPaths> {
        Box::new(LocalModelPaths::new(
            dir.join("tokenizer.json"),
            config,
            template.clone(),
            weights,
            AdapterPaths::None,
            generation.clone(),
            None,
            None,
            None,
        ))
    };
    let name = dir.display().to_string();
    let (loader, paths): (Box<dyn Loader>, _) = match form {
        Form::Gguf(file) => {
            header::read(&file)?;
            let loader = GGUFLoaderBuilder::new(
                None,
                None,
                name,
                vec!["model.gguf".into()],
                GGUFSpecificConfig { topology: None },
                false,
                None,
            )
            .build();
            (loader, paths(PathBuf::new(), vec![file]))
        }
        Form::Safetensors(weights) => {
            let config = NormalSpecificConfig {
                topology: None,
                organization: IsqOrganization::Default,
                write_uqff: None,
                from_uqff: None,
                imatrix: None,
                calibration_file: None,
                hf_cache_path: None,
                matformer_config_path: None,
                matformer_slice_name: None,
            };
            let loader = NormalLoaderBuilder::new(config, None, None, Some(name), false, None)
                .build(None)
                .map_err(|error| failed(error.to_string()))?;
            (loader, paths(dir.join("config.json"), weights))
        }
    };
    // F32 activations: left to itself the library picks F16 on CPU, where long prompts then take half as long again.
    let pipeline = loader
        .load_model_from_path(
            &paths,
            &ModelDType::F32,
            &Device::Cpu,
            true,
            DeviceMapSetting::dummy(),
            None,
            None,
        )
        .map_err(|error| failed(error.to_string()))?;
    let metadata = pipeline.lock().await.get_metadata();
    let tokens = metadata
        .tok_env()
        .ok_or_else(|| failed("the library built no token table".into()))?;
    if metadata.eos_tok.is_empty() {
        return Err(failed("the tokenizer names no end token; answers could not end".into()));
    }
    let streams = NonZeroUsize::new(streams).unwrap_or(NonZeroUsize::MIN);
    let scheduler = SchedulerConfig::DefaultScheduler {
        method: DefaultSchedulerMethod::Fixed(streams),
    };
    let runner = MistralRsBuilder::new(pipeline, scheduler, false, None)
        .with_no_kv_cache(false)
        .with_no_prefix_cache(true)
        .with_prefix_cache_n(0)
        .build()
        .await;
    Ok(Loaded {
        model: Model::new(runner),
        tokens,
        eos: metadata.eos_tok.clone(),
        context_tokens: metadata.max_seq_len,
    })
}
