"""The contract with evaluation services: the views ``v1_...``, made from declarations."""
