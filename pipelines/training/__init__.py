"""Train, measure and export the models that ship as MONAI bundles (needs the extra "train")."""
