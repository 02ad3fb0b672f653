//! Receipts
