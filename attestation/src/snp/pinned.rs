//! AMD's certificates, read once.

use std::sync::LazyLock;

use super::certificate::{Certificate, Role};
use super::error::SnpError;
use super::product::Product;
use super::report::SigningKey;
use super::roots;

type Read = LazyLock<Result<Certificate, SnpError>>;

macro_rules! read_once {
    ($name:ident, $role:expr, $der:expr) => {
        static $name: Read = LazyLock::new(|| Certificate::parse($role, $der));
    };
}

read_once!(ARK_MILAN, Role::Ark, roots::ark(Product::Milan));
read_once!(ARK_GENOA, Role::Ark, roots::ark(Product::Genoa));
read_once!(ARK_TURIN, Role::Ark, roots::ark(Product::Turin));
read_once!(
    ASK_MILAN,
    Role::Ask,
    roots::intermediate(Product::Milan, SigningKey::Vcek)
);
read_once!(
    ASK_GENOA,
    Role::Ask,
    roots::intermediate(Product::Genoa, SigningKey::Vcek)
);
read_once!(
    ASK_TURIN,
    Role::Ask,
    roots::intermediate(Product::Turin, SigningKey::Vcek)
);
read_once!(
    ASVK_MILAN,
    Role::Ask,
    roots::intermediate(Product::Milan, SigningKey::Vlek)
);
read_once!(
    ASVK_GENOA,
    Role::Ask,
    roots::intermediate(Product::Genoa, SigningKey::Vlek)
);
read_once!(
    ASVK_TURIN,
    Role::Ask,
    roots::intermediate(Product::Turin, SigningKey::Vlek)
);

/// The root of `product`.
pub(super) fn ark(product: Product) -> Result<&'static Certificate, SnpError> {
    given(match product {
        Product::Milan => &ARK_MILAN,
        Product::Genoa => &ARK_GENOA,
        Product::Turin => &ARK_TURIN,
    })
}

/// The intermediate of `product` for `key`.
pub(super) fn intermediate(product: Product, key: SigningKey) -> Result<&'static Certificate, SnpError> {
    given(match (product, key) {
        (Product::Milan, SigningKey::Vcek) => &ASK_MILAN,
        (Product::Genoa, SigningKey::Vcek) => &ASK_GENOA,
        (Product::Turin, SigningKey::Vcek) => &ASK_TURIN,
        (Product::Milan, SigningKey::Vlek) => &ASVK_MILAN,
        (Product::Genoa, SigningKey::Vlek) => &ASVK_GENOA,
        (Product::Turin, SigningKey::Vlek) => &ASVK_TURIN,
    })
}

fn given(read: &'static Read) -> Result<&'static Certificate, SnpError> {
    read.as_ref().map_err(Clone::clone)
}
