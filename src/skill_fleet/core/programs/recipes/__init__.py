"""Programs made of programs, saved as their members' states and a recipe to rebuild them."""
