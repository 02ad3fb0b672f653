//! GGUF in, model directory out.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use super::staging::Staging;
use super::{ConvertError, Prepared, Progress, TokenizerSource, header, tokenizer};

/// What slow matrices become. Both have a vectorised kernel in the engine and decode at the same speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Encoding {
    /// 4.5 bits a weight. The default: as fast as Q8_0 at two thirds of its size.
    #[default]
    #[value(name = "q4_0")]
    Q4_0,
    /// 8.5 bits a weight.
    #[value(name = "q8_0")]
    Q8_0,
}

impl Encoding {
    /// As ggml writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q8_0 => "Q8_0",
        }
    }

    fn dtype(self) -> GgmlDType {
        match self {
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q8_0 => GgmlDType::Q8_0,
        }
    }

    /// `general.file_type`: ggml's `LLAMA_FTYPE_MOSTLY_*`.
    fn file_type(self) -> u32 {
        match self {
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
        }
    }
}

/// Prepares a GGUF file.
///
/// Matrices in a type without a vectorised kernel (Q4_1, Q5_0, Q5_1, Q8_1) become `encoding`; all others, and everything of rank
/// one, stay bit for bit. A file without such matrices is copied unchanged. `tokenizer.json` or `chat_template.jinja` beside
/// the file are used where the GGUF itself does not serve. A model that makes vectors needs neither: then its template refuses chats.
///
/// # Errors
/// [`ConvertError`]. `out_dir` must not exist.
pub fn prepare_gguf(
    source: &Path,
    out_dir: &Path,
    encoding: Encoding,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, ConvertError> {
    let header = header::read_to_prepare(source)?;
    let file = File::open(source).map_err(|error| ConvertError::Io {
        what: "opening",
        path: source.into(),
        source: error,
    })?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let content = Content::read(&mut reader).map_err(|error| tensor_error(source, "reading the header", error))?;

    let template = chat_template(source, &content.metadata)?;
    let words = match tokenizer::from_gguf(source, &content.metadata, &template) {
        Ok(words) => Some(words),
        // No file here is for a model that the other engine alone computes.
        Err(_) if template == VECTORS_ALONE => None,
        Err(error) => return Err(error),
    };
    let staging = Staging::new(out_dir)?;

    let requantised = header.tensors.iter().filter(|tensor| is_converted(tensor)).count();
    if requantised == 0 {
        let total = std::fs::metadata(source).map_or(0, |metadata| metadata.len());
        staging.copy(source, "model.gguf", &mut 0, total, progress)?;
    } else {
        write_requantised(source, &header, &content, &mut reader, encoding, &staging, progress)?;
    }
    if let Some(words) = &words {
        staging.write_bytes("tokenizer.json", &words.tokenizer_json)?;
        staging.write_bytes("tokenizer_config.json", &words.tokenizer_config_json)?;
    }
    staging.write_bytes("chat_template.jinja", template.as_bytes())?;
    staging.publish()?;
    let tokenizer = match words {
        None => TokenizerSource::Absent,
        Some(words) if words.supplied => TokenizerSource::Supplied,
        Some(_) => TokenizerSource::Gguf,
    };
    Ok(Prepared {
        requantised,
        tensors: header.tensors.len(),
        tokenizer,
    })
}

fn is_converted(tensor: &header::TensorEntry) -> bool {
    tensor.rank == 2 && header::is_slow(tensor.ggml_type)
}

fn write_requantised(
    source: &Path,
    header: &header::Header,
    content: &Content,
    reader: &mut BufReader<File>,
    encoding: Encoding,
    staging: &Staging,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ConvertError> {
    let total = header.tensors.iter().map(|tensor| tensor.bytes).sum();
    let mut done = 0;
    let mut tensors: Vec<(&str, QTensor)> = Vec::with_capacity(header.tensors.len());
    for entry in &header.tensors {
        let failed = |error| tensor_error(source, &format!("converting tensor `{}`", entry.name), error);
        let mut tensor = content.tensor(reader, &entry.name, &Device::Cpu).map_err(failed)?;
        if is_converted(entry) {
            let values = tensor.dequantize(&Device::Cpu).map_err(failed)?;
            tensor = QTensor::quantize(&values, encoding.dtype()).map_err(failed)?;
        }
        tensors.push((&entry.name, tensor));
        done += entry.bytes;
        progress(Progress {
            step: "requantising",
            done,
            total,
        });
    }
    // Sorted keys: the reader gives a hash map, and the same input must give the same bytes.
    let file_type = Value::U32(encoding.file_type());
    let alignment = Value::U32(gguf_file::DEFAULT_ALIGNMENT as u32);
    let mut metadata: Vec<(&str, &Value)> = content
        .metadata
        .iter()
        .map(|(key, value)| match key.as_str() {
            "general.file_type" => (key.as_str(), &file_type),
            "general.alignment" => (key.as_str(), &alignment),
            _ => (key.as_str(), value),
        })
        .collect();
    metadata.sort_by_key(|(key, _)| *key);
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    staging.write("model.gguf", |writer, path| {
        gguf_file::write(writer, &metadata, &tensors).map_err(|error| tensor_error(path, "writing", error))
    })
}

/// The template of a model that makes vectors and has none: no chat has a form for it, and whoever sends one is told so.
const VECTORS_ALONE: &str =
    "{{ raise_exception('this model makes vectors and answers no chats: use /v1/embeddings') }}";

/// Whether the file says how its states become one vector (`{architecture}.pooling_type`): 1 their mean, 2 the first, 3 the last.
fn makes_vectors(metadata: &HashMap<String, Value>) -> bool {
    let Some(Value::String(architecture)) = metadata.get("general.architecture") else {
        return false;
    };
    let pooling = metadata.get(&format!("{architecture}.pooling_type"));
    matches!(pooling, Some(Value::U32(1..=3)))
}

fn chat_template(source: &Path, metadata: &HashMap<String, Value>) -> Result<String, ConvertError> {
    if let Some(Value::String(template)) = metadata.get("tokenizer.chat_template") {
        return Ok(template.clone());
    }
    let beside = source.with_file_name("chat_template.jinja");
    match std::fs::read_to_string(&beside) {
        Ok(template) => Ok(template),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match makes_vectors(metadata) {
            true => Ok(VECTORS_ALONE.to_owned()),
            false => Err(ConvertError::NoChatTemplate { path: source.into() }),
        },
        Err(error) => Err(ConvertError::Io {
            what: "reading",
            path: beside,
            source: error,
        }),
    }
}

fn tensor_error(path: &Path, what: &str, source: candle_core::Error) -> ConvertError {
    ConvertError::Tensor {
        path: path.into(),
        what: what.to_owned(),
        source: Box::new(source),
    }
}
