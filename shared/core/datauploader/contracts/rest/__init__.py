"""What the gateway's REST interface answers: the gateway builds these models, and its clients read them."""
