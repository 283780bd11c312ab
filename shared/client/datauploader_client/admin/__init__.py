"""What an administrator does to a facility's server: install it, and register stations and harvesters.

Everything is written into `.env` and the folder of the site, from which the containers of docker-compose.yml live. See
docs/deployment.md.
"""
