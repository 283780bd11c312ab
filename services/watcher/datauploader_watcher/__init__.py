"""The watcher: turns a folder that something writes into into facts about finished files."""
